"""``include`` decides what of an answer is shown; what is kept of it is always everything."""

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.programs.clients import Client
from tests.programs.running import Live, until

SECRET = "reasoning.encrypted_content"
QUESTION = {"input": "hello there", "reasoning": {"effort": "high"}}

over_thinking = pytest.mark.parametrize("protocol", ["responses", "messages"])


@pytest.fixture
def sdk(live: Live) -> Iterator[Any]:
    client = Client("responses", live.base_url)
    yield client.sdk
    client.close()


def secrets(items: Any) -> list[str | None]:
    return [item.encrypted_content for item in items if item.type == "reasoning"]


def told(live: Live, model: str) -> str:
    """What the provider was last asked for ``model``."""
    url = f"{live.simulator.url}/requests"
    seen = httpx.get(url, params={"model": model}, trust_env=False).json()["requests"]
    return orjson.dumps(seen[-1]["body"]).decode()


@over_thinking
def test_the_secret_of_thoughts_is_shown_to_those_who_ask(
    live: Live, sdk: Any, protocol: str
) -> None:
    """Whole, in every event of a stream, and when it is read again."""
    model = f"sim-{protocol}:main"
    silent = sdk.responses.create(model=model, **QUESTION)
    assert secrets(silent.output) == [None]
    with sdk.responses.create(model=model, stream=True, **QUESTION) as stream:
        events = [event.to_json() for event in stream]
    assert "reasoning_summary_text.delta" in "".join(events)
    assert "encrypted_content" not in "".join(events)
    asked = sdk.responses.create(model=model, include=[SECRET], **QUESTION)
    assert all(secrets(asked.output))
    with sdk.responses.create(model=model, include=[SECRET], stream=True, **QUESTION) as stream:
        *_, last = stream
    assert all(secrets(last.response.output))
    assert secrets(sdk.responses.retrieve(asked.id).output) == secrets(asked.output)


def test_what_was_not_shown_can_still_be_read(sdk: Any) -> None:
    """The question of GET adds to that of POST, also in the list of what a request was asked."""
    silent = sdk.responses.create(model="sim-messages:main", **QUESTION)
    assert secrets(sdk.responses.retrieve(silent.id).output) == [None]
    assert all(secrets(sdk.responses.retrieve(silent.id, include=[SECRET]).output))
    then = sdk.responses.create(
        model="sim-messages:main", previous_response_id=silent.id, input="and now?"
    )
    listed = sdk.responses.input_items.list
    assert secrets(listed(then.id).data) == [None]
    assert all(secrets(listed(then.id, include=[SECRET]).data))


def test_the_next_turn_has_what_was_not_shown(live: Live, sdk: Any) -> None:
    """By the id of the response, and by that of the item, the provider gets its signature."""
    first = sdk.responses.create(model="sim-messages:main", **QUESTION)
    shown = secrets(sdk.responses.retrieve(first.id, include=[SECRET]).output)
    assert shown != [None]
    for model, request in (
        ("main-idbyid", {"previous_response_id": first.id, "input": "and now?"}),
        (
            "main-idbyitem",
            {
                "input": [
                    {"role": "user", "content": "hello there"},
                    *[item.to_dict() for item in first.output],
                    {"role": "user", "content": "and now?"},
                ]
            },
        ),
    ):
        sdk.responses.create(model=f"sim-messages:{model}", reasoning={"effort": "high"}, **request)
        assert '"signature":"simulated' in told(live, model)


def test_thoughts_nobody_kept_come_back_as_words(live: Live, sdk: Any) -> None:
    """Neither kept nor shown, the secret is lost by the client's wish; the request is served."""
    first = sdk.responses.create(model="sim-messages:main", store=False, **QUESTION)
    sdk.responses.create(
        model="sim-messages:main-idlost",
        store=False,
        input=[
            {"role": "user", "content": "hello there"},
            *[item.to_dict() for item in first.output],
            {"role": "user", "content": "and now?"},
        ],
    )
    assert "signature" not in told(live, "main-idlost")


def test_a_background_stream_shows_what_its_reader_asks_for(live: Live, sdk: Any) -> None:
    """What is kept of the stream is everything; each reader sees what it asked for."""
    with sdk.responses.create(
        model="sim-messages:main", background=True, stream=True, **QUESTION
    ) as stream:
        events = list(stream)
    response_id = events[0].response.id
    until(
        lambda: sdk.responses.retrieve(response_id).status == "completed",
        f"{response_id} has not ended",
    )
    assert secrets(events[-1].response.output) == [None]
    with sdk.responses.retrieve(response_id, stream=True, include=[SECRET]) as again:
        repeated = list(again)
    assert [event.sequence_number for event in repeated] == [e.sequence_number for e in events]
    assert all(secrets(repeated[-1].response.output))


@pytest.mark.parametrize("include", ["reasoning.encrypted_content", [1], {"a": True}])
def test_an_include_that_is_no_list_is_refused(live: Live, include: Any) -> None:
    """The error names the field."""
    answer = live.post("responses", {"model": "plain-chat", "input": "hi", "include": include})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "include"
