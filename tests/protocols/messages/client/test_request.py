import orjson
import pytest

from polyvox.protocols.client_side import Ask
from polyvox.protocols.messages.client import request as messages
from polyvox.protocols.messages.client.token_estimate import estimate_tokens
from polyvox.protocols.messages.provider import request as provider
from polyvox.workflows.conversation import (
    Json,
)
from polyvox.workflows.errors import ModelError
from tests.samples.messages import RECORDED

BODY: dict[str, Json] = {
    "model": "public-name",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hi"}],
    "stream": True,
}


ASK = messages.parse(BODY, {})


@pytest.mark.parametrize("request_", orjson.loads((RECORDED / "requests.json").read_bytes()))
def test_recorded_requests_reach_their_own_provider_unchanged(request_: dict[str, Json]) -> None:
    body = {"max_tokens": 10, **request_}
    ask = messages.parse(body, {"anthropic-version": "2023-06-01", "x-api-key": "test-key"})
    rendered = provider.render(ask.conversation, ask.model)
    expected = {**body, "stream": True}
    offers = {"tool_choice"} if not body.get("tools") else set()
    assert rendered.body == {k: v for k, v in expected.items() if v != [] and k not in offers}
    assert rendered.headers == {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages.0"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages.0.content.0.text",
        ),
        ({"tools": {}}, "tools"),
        ({"tools": [{"description": "x"}]}, "tools.0.name"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "text"}]}, "system.0.text"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_a_bad_field_is_named_with_its_place(change: dict[str, Json], param: str) -> None:
    with pytest.raises(ModelError) as caught:
        messages.parse({**BODY, **change}, {})
    assert (caught.value.kind, caught.value.param) == ("invalid_request", param)
    assert caught.value.message.startswith(f"{param}: ")


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(ModelError):
        messages.parse([], {})


def test_absent_and_null_mean_the_same() -> None:
    nulls = dict.fromkeys(("system", "tools", "tool_choice", "stop_sequences", "stream"))
    ask: Ask = messages.parse({**BODY, **nulls}, {})
    assert (ask.stream, ask.conversation) == (False, ASK.conversation)


def test_tokens_are_estimated_from_text_and_media() -> None:
    """Four characters a token; an image costs the same whatever its bytes."""
    plain = {"messages": [{"role": "user", "content": "x" * 4000}]}
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "A" * 10**6},
    }
    pictured = {"messages": [{"role": "user", "content": [image]}]}
    assert 1000 <= _estimate(plain) <= 1010
    assert 1600 <= _estimate(pictured) <= 1610
    assert _estimate({**plain, "system": "y" * 400}) >= 1100
    assert _estimate({**plain, "tools": [{"name": "z" * 400, "input_schema": {}}]}) >= 1100


def _estimate(body: Json) -> int:
    return estimate_tokens(messages.parse({**BODY, **body}, {}))
