"""Requests that are sent again with an Idempotency-Key, and others that only look like it."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.gateway.generate.test_failures import events, request
from tests.programs.running import KEY, LIMIT_S, PATHS, PROTOCOLS, Live, until

over_all = pytest.mark.parametrize("protocol", PROTOCOLS)
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def new_key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def asked(live: Live, model: str) -> int:
    """Return how many requests for ``model`` the provider has got."""
    requests: dict[str, int] = live.seen()["requests"]
    return requests.get(model, 0)


@contextmanager
def streaming(live: Live, document: Any, headers: dict[str, str]) -> Iterator[httpx.Response]:
    with httpx.stream(
        "POST",
        live.base_url + PATHS["chat"],
        json=document,
        headers={"x-api-key": KEY, **headers},
        timeout=LIMIT_S,
        trust_env=False,
    ) as answer:
        yield answer


@over_all
@both
def test_the_same_request_gets_the_same_answer(live: Live, protocol: str, stream: bool) -> None:
    """From the run that has ended, and without another request to the provider."""
    model = f"main-id{protocol}{stream}again"
    document, headers = request(protocol, f"sim-chat:{model}", stream=stream), new_key()
    first = live.post(protocol, document, headers=headers)
    again = live.post(protocol, document, headers=headers)
    assert first.is_success
    assert again.headers["x-polyvox-run"] == first.headers["x-polyvox-run"]
    assert asked(live, model) == 1
    if not stream:
        assert again.json() | {"created": 0} == first.json() | {"created": 0}


@both
def test_of_two_at_once_both_get_the_answer_of_one_run(live: Live, stream: bool) -> None:
    """Neither of them waits for a first row, and nothing is missing at the beginning."""
    model = f"main-itl40-n20-id{stream}both"
    document, headers = request("chat", f"sim-chat:{model}", stream=stream), new_key()
    with ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(live.post, "chat", document, headers=headers) for _ in range(3)]
        answers = [one.result() for one in sent]
    assert len({answer.headers["x-polyvox-run"] for answer in answers}) == 1
    assert asked(live, model) == 1
    assert len({_text(answer, stream) for answer in answers}) == 1
    assert _text(answers[0], stream)


def test_one_that_comes_in_mid_answer_sees_it_grow_from_its_beginning(live: Live) -> None:
    """And the answer goes on when the first client leaves."""
    model = "main-itl40-n60-idmiddle"
    document, headers = request("chat", f"sim-chat:{model}", stream=True), new_key()
    with streaming(live, document, headers) as first:
        seen, received = b"", first.iter_raw()
        while seen.count(b"data: ") < 12:
            seen += next(received)
        with streaming(live, document, headers) as second:
            chunks = second.iter_raw()
            begun = next(chunks)
            first.close()
            rest = b"".join(chunks)
    assert second.headers["x-polyvox-run"] == first.headers["x-polyvox-run"]
    whole = httpx.Response(200, content=begun + rest)
    assert whole.content.endswith(b"data: [DONE]\n\n")
    said = live.post("chat", {**document, "stream": False, "model": f"sim-chat:{model}"})
    assert _text(whole, True) == _text(said, False)
    assert live.ended(second.headers["x-polyvox-run"])["status"] == "completed"


@over_all
def test_another_request_with_the_key_is_refused(live: Live, protocol: str) -> None:
    """The draft of the IETF has the status 422 for it; a new key of the API has keys of its own."""
    headers = new_key()
    assert live.post(
        protocol, request(protocol, "sim-chat:main", stream=False), headers=headers
    ).is_success
    other = live.post(
        protocol, request(protocol, "sim-chat:skeptic", stream=False), headers=headers
    )
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json()["error"]["message"]
    assert other.headers.get("retry-after") is None


def test_a_key_that_cannot_be_stored_is_refused(live: Live) -> None:
    """Rather than cut off, which would make two keys one."""
    answer = live.post(
        "chat",
        request("chat", "sim-chat:main", stream=False),
        headers={"idempotency-key": "k" * 256},
    )
    assert answer.status_code == 400


@pytest.mark.parametrize(("status", "requests"), [(400, 1), (529, 2)])
def test_a_failure_is_repeated_only_if_it_would_happen_again(
    live: Live, status: int, requests: int
) -> None:
    """What has passed is worth another run: the client sent its request again to get an answer."""
    model = f"main-err{status}x3-idkeyed"
    document, headers = request("chat", f"sim-chat:{model}", stream=False), new_key()
    first = live.post("chat", document, headers=headers)
    assert first.status_code >= 400
    again = live.post("chat", document, headers=headers)
    runs = {answer.headers["x-polyvox-run"] for answer in (first, again)}
    assert len(runs) == requests
    assert again.is_success == (requests == 2)


def test_each_choice_has_its_own_run(live: Live) -> None:
    """Two answers are two runs, the first time and the second."""
    model = "main-idchoices"
    document, headers = {**request("chat", f"sim-chat:{model}", stream=False), "n": 2}, new_key()
    first = live.post("chat", document, headers=headers)
    again = live.post("chat", document, headers=headers)
    assert again.headers["x-polyvox-runs"] == first.headers["x-polyvox-runs"]
    assert len(set(again.headers["x-polyvox-runs"].split(", "))) == 2
    assert asked(live, model) == 2
    assert [c["index"] for c in again.json()["choices"]] == [0, 1]


@both
def test_a_background_response_is_begun_once(live: Live, stream: bool) -> None:
    """The second request gets the same response, in whatever state it is."""
    model = f"main-id{stream}background"
    document = {
        "model": f"sim-chat:{model}",
        "input": "hello",
        "background": True,
        "stream": stream,
    }
    headers = new_key()
    first = live.post("responses", document, headers=headers)
    again = live.post("responses", document, headers=headers)
    assert again.headers["x-polyvox-run"] == first.headers["x-polyvox-run"]
    if stream:
        assert again.content == first.content
    else:
        assert again.json()["id"] == first.json()["id"]
    live.ended(first.headers["x-polyvox-run"])
    assert asked(live, model) == 1


def test_a_conversation_gets_the_answer_once(live: Live) -> None:
    """It has the input and the output of the run, not those of each request."""
    url = f"{live.base_url}/v1/conversations"
    http = httpx.Client(headers={"x-api-key": KEY}, timeout=LIMIT_S, trust_env=False)
    with http:
        thread = http.post(url, json={}).json()["id"]
        document = {"model": "sim-chat:main", "input": "hello", "conversation": thread}
        headers = new_key()
        ids = {live.post("responses", document, headers=headers).json()["id"] for _ in range(2)}
        assert len(ids) == 1
        assert len(http.get(f"{url}/{thread}/items").json()["data"]) == 2


@pytest.mark.parametrize("count", ["0", "1"])
def test_a_request_that_others_have_sent_too_is_not_theirs(live: Live, count: str) -> None:
    """Clients ask the same many times on purpose. Only a run whose client is gone is adopted."""
    model = f"main-stall2-idsiblings{count}"
    document = request("chat", f"sim-chat:{model}", stream=True)
    with (
        streaming(live, document, {"x-stainless-retry-count": count}) as first,
        streaming(live, document, {"x-stainless-retry-count": count}) as second,
    ):
        until(lambda: asked(live, model) == 2, "not both have asked")
        assert first.headers["x-polyvox-run"] != second.headers["x-polyvox-run"]


def _text(answer: httpx.Response, stream: bool) -> str:
    if not stream:
        content: str = answer.json()["choices"][0]["message"]["content"]
        return content
    chunks = [chunk for chunk in events(answer) if isinstance(chunk, dict)]
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    )
