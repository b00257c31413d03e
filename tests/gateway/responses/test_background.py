"""Background responses: polling, cancelling, and streams that are broken off and resumed."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import orjson
import pytest

from polyvox.activities.storage.responses import StoredResponse
from tests.programs.clients import Client
from tests.programs.running import KEY, LIMIT_S, PROTOCOLS, Live, until

over_all = pytest.mark.parametrize("protocol", PROTOCOLS)

ENDED = ("completed", "failed", "incomplete", "cancelled")


@pytest.fixture
def sdk(live: Live) -> Iterator[Any]:
    client = Client("responses", live.base_url)
    yield client.sdk
    client.close()


def ended(sdk: Any, response_id: str) -> Any:
    def look() -> Any:
        response = sdk.responses.retrieve(response_id)
        return response if response.status in ENDED else None

    return until(look, f"{response_id} has not ended")


def frames(live: Live, path: str, **request: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the whole stream of a GET, or of a POST if ``json`` is given, as names and data."""
    method = "POST" if "json" in request else "GET"
    answer = httpx.request(
        method,
        f"{live.base_url}/v1/responses{path}",
        headers={"x-api-key": KEY},
        timeout=LIMIT_S,
        trust_env=False,
        **request,
    )
    assert answer.status_code == 200, answer.text
    *blocks, done, rest = [b for b in answer.text.split("\n\n") if not b.startswith(":")]
    assert (done, rest) == ("data: [DONE]", "")
    split = [block.split("\n") for block in blocks]
    return [(n.removeprefix("event: "), orjson.loads(d.removeprefix("data: "))) for n, d in split]


@over_all
def test_a_background_response_is_polled(sdk: Any, protocol: str) -> None:
    """It is queued when it comes back, goes on without its client and ends with its answer."""
    begun = sdk.responses.create(
        model=f"sim-{protocol}:main-itl20", input="hello there", background=True
    )
    assert (begun.status, begun.background, begun.output) == ("queued", True, [])
    assert sdk.responses.retrieve(begun.id).status in ("in_progress", "completed")
    response = ended(sdk, begun.id)
    assert response.status == "completed"
    assert "hello" in response.output_text
    assert response.usage.output_tokens > 0
    assert response.id == begun.id
    assert response.created_at == begun.created_at


def test_the_next_request_goes_on_from_a_background_response(sdk: Any) -> None:
    """But not before it has ended."""
    begun = sdk.responses.create(
        model="sim-chat:main-stall1-idwaits", input="My name is Ada.", background=True
    )
    with pytest.raises(openai.BadRequestError, match="has not ended yet"):
        sdk.responses.create(model="plain-chat", input="hi", previous_response_id=begun.id)
    sdk.responses.cancel(begun.id)
    quick = sdk.responses.create(model="plain-chat", input="My name is Ada.", background=True)
    ended(sdk, quick.id)
    then = sdk.responses.create(
        model="plain-chat", input="hello there", previous_response_id=quick.id
    )
    assert "turn 2" in then.output_text.lower()


def test_background_without_store_is_refused(sdk: Any) -> None:
    """Nobody could come back to it."""
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.create(model="plain-chat", input="hi", background=True, store=False)
    assert refused.value.param == "store"


def test_an_unknown_model_is_refused_at_once(sdk: Any) -> None:
    """What cannot run is no background response."""
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.create(model="no-such-model", input="hi", background=True)
    assert refused.value.code == "model_not_found"


def test_a_reader_that_comes_while_the_end_is_stored_gets_the_end(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is not over before its last frames are shown."""
    store = live.program.runtime.responses
    keep, flush = store.keep, store.flush
    ending, read = threading.Event(), threading.Event()

    def keep_and_note(kept: StoredResponse) -> None:
        keep(kept)
        if kept.document is not None:
            ending.set()

    async def held_flush() -> None:
        if ending.is_set():
            await asyncio.to_thread(read.wait, LIMIT_S)
        await flush()

    monkeypatch.setattr(store, "keep", keep_and_note)
    monkeypatch.setattr(store, "flush", held_flush)
    client = httpx.Client(
        base_url=live.base_url, headers={"x-api-key": KEY}, timeout=LIMIT_S, trust_env=False
    )
    asked = {"model": "sim-chat:main", "input": "hi", "background": True, "stream": True}
    with client, client.stream("POST", "/v1/responses", json=asked) as first:
        created = next(line for line in first.iter_lines() if line.startswith("data: "))
        response_id = orjson.loads(created.removeprefix("data: "))["response"]["id"]
        assert ending.wait(LIMIT_S)
        with client.stream("GET", f"/v1/responses/{response_id}?stream=true") as second:
            lines = second.iter_lines()
            assert "event: response.created" in lines
            read.set()
            assert [line for line in lines if line][-1] == "data: [DONE]"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_background_response_that_fails_says_so(live: Live, sdk: Any, stream: bool) -> None:
    """There is no status line any more that could: the object says it."""
    request = {
        "model": "sim-chat:main-err400",
        "input": "hi",
        "background": True,
        "stream": stream,
    }
    if stream:
        *_, (name, last) = frames(live, "", json=request)
        assert name == "response.failed"
        response_id = last["response"]["id"]
    else:
        response_id = sdk.responses.create(**request).id
    response = ended(sdk, response_id)
    assert response.status == "failed"
    assert response.error.code == "invalid_prompt"
    assert "Simulated 400" in response.error.message


@over_all
def test_a_background_stream_is_the_same_from_every_place(live: Live, protocol: str) -> None:
    """A resumed stream repeats numbers, ids and bytes of what was missed, and nothing else."""
    model = f"sim-{protocol}:main-itl1"
    sent = frames(
        live, "", json={"model": model, "input": "hi", "background": True, "stream": True}
    )
    names = [name for name, _ in sent]
    assert names[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert names[-1] == "response.completed"
    assert [data["sequence_number"] for _, data in sent] == list(range(len(sent)))
    assert [d["response"]["status"] for _, d in sent[:3]] == ["queued", "queued", "in_progress"]
    response_id = sent[0][1]["response"]["id"]
    assert frames(live, f"/{response_id}?stream=true") == sent
    for after in range(len(sent)):
        path = f"/{response_id}?stream=true&starting_after={after}"
        assert frames(live, path) == sent[after + 1 :]


def test_a_stream_is_resumed_while_it_goes_on(live: Live, sdk: Any) -> None:
    """A client that breaks off and comes back misses nothing and sees nothing twice."""
    seen: list[Any] = []
    with sdk.responses.create(
        model="sim-chat:main-itl20-n60", input="hi", background=True, stream=True
    ) as stream:
        for event in stream:
            seen.append(event)
            if len(seen) == 12:
                break
    response_id = seen[0].response.id
    with sdk.responses.retrieve(
        response_id, stream=True, starting_after=seen[-1].sequence_number
    ) as stream:
        seen += list(stream)
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    said = "".join(e.delta for e in seen if e.type == "response.output_text.delta")
    assert seen[-1].type == "response.completed"
    assert seen[-1].response.output_text == said
    assert sdk.responses.retrieve(response_id).output_text == said


def test_two_clients_read_one_stream(live: Live, sdk: Any) -> None:
    """Each reads at its own pace and from its own place."""
    with sdk.responses.create(
        model="sim-messages:main-itl10-n40", input="hi", background=True, stream=True
    ) as stream:
        first = next(stream)
        with sdk.responses.retrieve(first.response.id, stream=True) as other:
            assert next(other) == first
            assert list(other) == list(stream)


def test_only_a_streamed_background_response_is_streamed_again(live: Live, sdk: Any) -> None:
    """A response that was made without a stream has none to resume."""
    polled = sdk.responses.create(model="plain-chat", input="hi", background=True)
    plain = sdk.responses.create(model="plain-chat", input="hi")
    for response in (polled, plain):
        with pytest.raises(openai.BadRequestError, match="stream=true"):
            sdk.responses.retrieve(response.id, stream=True)


def test_a_background_response_is_cancelled(live: Live, sdk: Any) -> None:
    """The spending ends at once; cancelling again changes nothing."""
    model = "main-stall2-idcancelled"
    begun = sdk.responses.create(model=f"sim-chat:{model}", input="hi", background=True)
    until(lambda: live.seen()["requests"].get(model), "the model was not asked")
    cancelled = sdk.responses.cancel(begun.id)
    assert (cancelled.id, cancelled.status) == (begun.id, "cancelled")
    assert sdk.responses.cancel(begun.id).status == "cancelled"
    assert sdk.responses.retrieve(begun.id).status == "cancelled"
    until(lambda: live.seen()["disconnects"].get(model), "the provider's stream is still open")
    run = live.ended(begun.id.removeprefix("resp_"))
    assert run["status"] == "cancelled"


def test_a_cancelled_stream_ends_with_an_error(live: Live, sdk: Any) -> None:
    """The protocol has no event for it: an error with its own code ends what is attached."""
    stream = sdk.responses.create(
        model="sim-chat:main-stall2-idattached", input="hi", background=True, stream=True
    )
    begun = next(stream)
    sdk.responses.cancel(begun.response.id)
    with pytest.raises(openai.APIError) as ending:
        list(stream)
    assert ending.value.code == "response_cancelled"
    again = sdk.responses.retrieve(begun.response.id, stream=True)
    with pytest.raises(openai.APIError) as ending:
        list(again)
    assert ending.value.code == "response_cancelled"


def test_a_foreground_response_cannot_be_cancelled(sdk: Any) -> None:
    """Only a background response goes on without its client; the others end with it."""
    plain = sdk.responses.create(model="plain-chat", input="hi")
    with pytest.raises(openai.BadRequestError, match="background=true"):
        sdk.responses.cancel(plain.id)


def test_a_finished_background_response_stays_as_it_is_when_cancelled(sdk: Any) -> None:
    """Cancelling what has ended answers with what it is."""
    begun = sdk.responses.create(model="plain-chat", input="hi", background=True)
    response = ended(sdk, begun.id)
    assert sdk.responses.cancel(begun.id) == response


def test_deleting_a_background_response_ends_it(live: Live, sdk: Any) -> None:
    """Nobody could read it any more."""
    model = "main-stall2-iddeleted"
    begun = sdk.responses.create(model=f"sim-chat:{model}", input="hi", background=True)
    until(lambda: live.seen()["requests"].get(model), "the model was not asked")
    sdk.responses.delete(begun.id)
    until(lambda: live.seen()["disconnects"].get(model), "the provider's stream is still open")
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(begun.id)
