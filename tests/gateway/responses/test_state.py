"""Responses that are kept, asked for through the official library over real HTTP.

One test for each endpoint and rule; providers of all three protocols stand behind.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.programs.clients import CITY, Client
from tests.programs.running import KEY, PROTOCOLS, Live, until

over_all = pytest.mark.parametrize("protocol", PROTOCOLS)
either_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def sdk(live: Live) -> Iterator[Any]:
    client = Client("responses", live.base_url)
    yield client.sdk
    client.close()


@pytest.fixture
def stranger(live: Live) -> Iterator[Any]:
    """The library with a good key that is another's."""
    live.run(live.program.runtime.ledger.add_key("strangers-key", "stranger"))
    client = Client("responses", live.base_url, "strangers-key")
    yield client.sdk
    client.close()


def ask(sdk: Any, model: str, *, stream: bool = False, **request: Any) -> Any:
    """Return the response object, taken from the stream's last event if it is streamed."""
    request = {"input": "hello there", **request}
    if not stream:
        return sdk.responses.create(model=model, **request)
    *_, last = sdk.responses.create(model=model, stream=True, **request)
    assert last.type == "response.completed"
    return last.response


def get(live: Live, path: str, key: str = KEY, method: str = "GET") -> httpx.Response:
    url = f"{live.base_url}/v1/responses{path}"
    return httpx.request(method, url, headers={"x-api-key": key}, trust_env=False, timeout=60)


@over_all
@either_way
def test_an_answer_can_be_retrieved(live: Live, sdk: Any, protocol: str, stream: bool) -> None:
    """`store` is true unless the client says otherwise; what is retrieved is what was said."""
    said = ask(sdk, f"plain-{protocol}", stream=stream, metadata={"team": "red"})
    assert said.store is True
    assert sdk.responses.retrieve(said.id) == said
    live.run(live.program.runtime.responses.flush())
    assert sdk.responses.retrieve(said.id).model_dump() == said.model_dump()


def test_an_answer_not_to_be_stored_cannot_be_retrieved(live: Live, sdk: Any) -> None:
    """`store: false` leaves nothing behind, and the response says so."""
    said = ask(sdk, "plain-chat", store=False)
    assert said.store is False
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(said.id)


def test_an_unknown_response_is_a_404(live: Live) -> None:
    """The error is a whole error object, and names the id."""
    for method in ("GET", "DELETE"):
        answer = get(live, "/resp_unknown", method=method)
        assert answer.status_code == 404
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"] == "Response with id 'resp_unknown' not found."
        assert error["type"] == "invalid_request_error"


def test_an_unknown_previous_response_is_a_400_with_its_code(sdk: Any) -> None:
    """Agents start afresh when they read this code."""
    with pytest.raises(openai.BadRequestError) as refused:
        ask(sdk, "plain-chat", previous_response_id="resp_unknown")
    assert refused.value.body == {
        "message": "Previous response with id 'resp_unknown' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    }


def test_another_key_finds_nothing(live: Live, sdk: Any, stranger: Any) -> None:
    """Only the key that made a response may read it, go on from it, cancel or delete it."""
    said = ask(sdk, "plain-chat")
    for act in (
        stranger.responses.retrieve,
        stranger.responses.delete,
        stranger.responses.cancel,
        stranger.responses.input_items.list,
    ):
        with pytest.raises(openai.NotFoundError):
            act(said.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        ask(stranger, "plain-chat", previous_response_id=said.id)
    reference = {"type": "item_reference", "id": said.output[0].id}
    with pytest.raises(openai.BadRequestError, match="not found"):
        ask(stranger, "plain-chat", input=[reference])
    assert sdk.responses.retrieve(said.id).id == said.id


@over_all
@either_way
def test_a_request_goes_on_from_the_one_before(sdk: Any, protocol: str, stream: bool) -> None:
    """Input and output of all earlier ones are there, at once and whatever the provider speaks."""
    model = f"plain-{protocol}"
    first = ask(sdk, model, stream=stream, input="My name is Ada.")
    second = ask(sdk, model, stream=stream, input="I live in Paris.", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    third = ask(sdk, model, stream=stream, input="hello there", previous_response_id=second.id)
    assert "turn 3" in third.output_text.lower()
    items = sdk.responses.input_items.list(third.id, order="asc").data
    assert [item.role for item in items] == ["user", "assistant", "user", "assistant", "user"]


def test_instructions_are_not_carried_over(sdk: Any) -> None:
    """A response's instructions are its own: the next one says its own or none."""
    first = ask(sdk, "plain-chat", instructions="Answer like a pirate.")
    asked = "What is your instruction?"
    second = ask(sdk, "plain-chat", input=asked, previous_response_id=first.id)
    assert second.instructions is None
    assert "pirate" not in second.output_text
    again = ask(
        sdk, "plain-chat", input=asked, previous_response_id=first.id, instructions="Be a cook."
    )
    assert "cook" in again.output_text


@over_all
def test_a_tool_call_is_answered_in_the_next_request(sdk: Any, protocol: str) -> None:
    """The result alone is sent; the call it belongs to is remembered with its id."""
    tools = [{"type": "function", "name": "get_weather", "parameters": CITY, "strict": True}]
    model = f"plain-{protocol}"
    first = ask(sdk, model, input="Call get_weather for Paris", tools=tools)
    (call,) = [item for item in first.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain, 11 C"}
    second = ask(sdk, model, input=[result], tools=tools, previous_response_id=first.id)
    assert "rain, 11 C" in second.output_text


def test_previous_response_and_conversation_exclude_each_other(sdk: Any) -> None:
    """Two histories in one request are refused."""
    with pytest.raises(openai.BadRequestError, match="utually exclusive"):
        ask(sdk, "plain-chat", previous_response_id="resp_x", conversation="conv_x")


def test_a_deleted_response_is_gone(live: Live, sdk: Any) -> None:
    """Deleting answers with what was deleted; what went on from it still has its history."""
    first = ask(sdk, "plain-chat", input="My name is Ada.")
    second = ask(sdk, "plain-chat", previous_response_id=first.id)
    answer = get(live, f"/{first.id}", method="DELETE")
    assert answer.json() == {"id": first.id, "object": "response", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(first.id)
    live.run(live.program.runtime.responses.flush())
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(first.id)
    third = ask(sdk, "plain-chat", previous_response_id=second.id)
    assert "turn 3" in third.output_text.lower()


def test_input_items_come_in_pages(sdk: Any) -> None:
    """Newest first unless asked otherwise; ids are stable, and the library can page through."""
    said = [{"role": "user", "content": f"word {n}"} for n in range(7)]
    response = ask(sdk, "plain-chat", input=said)
    ascending = [i.id for i in sdk.responses.input_items.list(response.id, order="asc", limit=3)]
    assert len(ascending) == len(set(ascending)) == 7
    first = sdk.responses.input_items.list(response.id, limit=3)
    assert [item.id for item in first.data] == ascending[:-4:-1]
    assert (first.has_more, first.first_id, first.last_id) == (True, ascending[6], ascending[4])
    assert first.data[0].content[0].text == "word 6"
    rest = sdk.responses.input_items.list(response.id, limit=4, after=first.last_id)
    assert [item.id for item in rest.data] == ascending[3::-1]
    assert rest.has_more is False
    with pytest.raises(openai.BadRequestError, match="limit"):
        sdk.responses.input_items.list(response.id, limit=101)


@over_all
def test_an_item_can_be_named_instead_of_sent(live: Live, sdk: Any, protocol: str) -> None:
    """Output and input items are found by their ids, also without a type."""
    first = ask(sdk, f"plain-{protocol}", input="My name is Ada.")
    (asked,) = sdk.responses.input_items.list(first.id).data
    named = [
        {"type": "item_reference", "id": asked.id},
        {"id": first.output[-1].id},
        {"role": "user", "content": "hello there"},
    ]
    for _ in range(2):
        second = ask(sdk, f"plain-{protocol}", input=named)
        assert "turn 2" in second.output_text.lower()
        live.run(live.program.runtime.responses.flush())
    with pytest.raises(openai.BadRequestError, match="'msg_unknown' not found") as refused:
        ask(sdk, f"plain-{protocol}", input=[{"type": "item_reference", "id": "msg_unknown"}])
    assert refused.value.param == "input[0].id"


def test_tokens_are_counted_as_an_estimate(sdk: Any) -> None:
    """The count covers what the request goes on from, and says that it is an estimate."""
    first = ask(sdk, "plain-chat", input="word " * 400)
    raw = sdk.responses.input_tokens.with_raw_response.count(
        model="plain-chat", input="hello", previous_response_id=first.id
    )
    assert raw.headers["x-polyvox-estimate"] == "true"
    counted = raw.parse()
    assert counted.object == "response.input_tokens"
    assert 400 <= counted.input_tokens <= 1000
    alone = sdk.responses.input_tokens.count(model="plain-chat", input="hello")
    assert 1 <= alone.input_tokens < 20


@pytest.mark.parametrize(
    ("model", "named"),
    [("plain-responses", True), ("plain-chat", False), ("panel-main-responses", False)],
)
def test_the_loss_of_a_providers_own_compaction_is_named(
    live: Live, model: str, named: bool
) -> None:
    """A compaction is never forwarded, because only its provider could read it."""
    answer = httpx.post(
        f"{live.base_url}/v1/responses/compact",
        json={"model": model, "input": "hello there"},
        headers={"x-api-key": KEY},
        timeout=60,
        trust_env=False,
    )
    loss = "compaction: a summary in place of the provider's own"
    assert answer.json()["output"][-1]["type"] == "compaction"
    assert (loss in answer.headers.get("x-polyvox-losses", "")) == named
    run = live.ended(answer.headers["x-polyvox-run"])
    assert (loss in run["losses"]) == named


@over_all
def test_a_conversation_is_compacted_and_goes_on(sdk: Any, protocol: str) -> None:
    """The user's words stay, the rest is one sealed item that any provider is shown as text."""
    model = f"plain-{protocol}"
    first = ask(sdk, model, input="My name is Ada.")
    compacted = sdk.responses.compact(model=model, previous_response_id=first.id)
    assert compacted.object == "response.compaction"
    *words, summary = compacted.output
    assert [item.content[0].text for item in words] == ["My name is Ada."]
    assert summary.type == "compaction"
    assert compacted.usage.output_tokens > 0
    # The library has no type for a user's message in an output and warns when it writes one.
    sent = [item.model_dump(exclude_unset=True, warnings=False) for item in compacted.output]
    second = ask(sdk, model, input=[*sent, {"role": "user", "content": "hello there"}])
    assert second.status == "completed"
    items = sdk.responses.input_items.list(second.id, order="asc").data
    assert "Summary of the conversation" in items[1].content[0].text


@pytest.mark.parametrize("model", ["plain-chat", "plain-messages", "panel-auto"])
@pytest.mark.parametrize("store", [False, True], ids=["unstored", "stored"])
@either_way
def test_an_agent_that_asks_for_a_compaction_gets_just_one_item(
    sdk: Any, model: str, store: bool, stream: bool
) -> None:
    """Codex ends its input with a trigger and fails unless one compaction item comes back."""
    said = [{"role": "user", "content": "My name is Ada."}, {"type": "compaction_trigger"}]
    response = ask(sdk, model, stream=stream, input=said, store=store)
    (item,) = response.output
    assert item.type == "compaction"
    sent = {"type": "compaction", "encrypted_content": item.encrypted_content}
    then = ask(sdk, model, input=[sent, {"role": "user", "content": "hello there"}])
    (_, summary) = sdk.responses.input_items.list(then.id).data
    assert summary.content[0].text.startswith("Summary of the conversation so far:")


def test_compacting_needs_a_model(live: Live) -> None:
    """The field that lacks is named."""
    url = f"{live.base_url}/v1/responses/compact"
    answer = httpx.post(url, json={"input": "x"}, headers={"x-api-key": KEY}, trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model"


def test_a_plain_get_without_an_id_is_426(live: Live) -> None:
    """Codex goes on over HTTP at once when it reads this status."""
    answer = get(live, "")
    assert answer.status_code == 426
    assert answer.json()["error"]["code"] == "upgrade_required"


def test_a_response_whose_client_left_is_kept_as_cancelled(live: Live, sdk: Any) -> None:
    """The client knows the id of what it broke off, and what became of it."""
    stream = sdk.responses.create(model="sim-chat:main-stall2-idleaving", input="hi", stream=True)
    response_id = next(stream).response.id
    stream.close()

    def look() -> Any:
        kept = _found(sdk, response_id)
        return None if kept is None or kept.status == "in_progress" else kept

    kept = until(look, f"{response_id} is not kept")
    assert kept.status == "cancelled"


def _found(sdk: Any, response_id: str) -> Any:
    try:
        return sdk.responses.retrieve(response_id)
    except openai.NotFoundError:
        return None


def test_a_stream_that_failed_is_kept_as_failed(sdk: Any) -> None:
    """What a client was shown the beginning of can be looked up."""
    stream = sdk.responses.create(model="sim-chat:main-itl9-cut3", input="hi", stream=True)
    response_id = next(stream).response.id
    with pytest.raises(openai.APIError):
        list(stream)
    kept = sdk.responses.retrieve(response_id)
    assert kept.status == "failed"
    assert kept.error.code == "server_error"
