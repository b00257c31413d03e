"""A requested format that Claude would refuse is fitted, and the original comes back."""

import pytest

from polyvox.protocols.provider_side import Rendered
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json

NAME = {"type": "string", "maxLength": 5}


def schema(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def rendered(client: str, wanted: Json, model: str = "claude-opus-4-8") -> Rendered:
    named = {"name": "a", "strict": True, "schema": wanted}
    said = [{"role": "user", "content": "Hi"}]
    bodies: dict[str, Json] = {
        "chat": {
            "messages": said,
            "response_format": {"type": "json_schema", "json_schema": named},
        },
        "responses": {"input": said, "text": {"format": {"type": "json_schema", **named}}},
        "messages": {
            "messages": said,
            "max_tokens": 99,
            "system": [{"type": "text", "text": "Be brief."}],
            "output_config": {
                "effort": "low",
                "format": {"type": "json_schema", "schema": wanted},
            },
        },
    }
    conversation = PROTOCOLS[client].parser.parse({"model": "m", **bodies[client]}, {})
    return PROTOCOLS["messages"].provider.render(conversation.conversation, model)


@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_schema_is_fitted_and_the_original_checked(client: str) -> None:
    request = rendered(client, schema(name=NAME))
    sent = request.body["output_config"]["format"]["schema"]
    assert sent == schema(name={"type": "string", "description": "(maxLength: 5)"})
    assert request.wanted is not None
    assert request.wanted.schema == schema(name=NAME)
    assert "response_format: fitted to the provider (maxLength); checked here" in request.losses
    if client == "messages":
        assert request.body["output_config"]["effort"] == "low"


@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_schema_that_cannot_be_fitted_is_asked_for_in_words(client: str) -> None:
    """Closing an object with arbitrary members would leave only the empty one."""
    wanted = {"type": "object", "additionalProperties": {"type": "string"}}
    request = rendered(client, wanted)
    assert "format" not in request.body.get("output_config", {})
    assert '"additionalProperties":{"type":"string"}' in str(request.body["system"])
    assert request.wanted is not None
    assert any("in words" in loss for loss in request.losses)


@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_schema_that_fits_is_sent_as_it_is(client: str) -> None:
    request = rendered(client, schema(name={"type": "string"}))
    assert request.body["output_config"]["format"]["schema"] == schema(name={"type": "string"})
    assert request.wanted is None


def test_another_model_gets_its_own_client_s_schema() -> None:
    request = rendered("messages", schema(name=NAME), model="deepseek-chat")
    assert request.body["output_config"]["format"]["schema"] == schema(name=NAME)
    assert request.wanted is None


def test_a_strict_tool_with_other_keywords_is_not_strict() -> None:
    """Its schema stays whole; one whose objects are only open is closed instead."""
    functions = [
        {"name": "a", "strict": True, "parameters": schema(name=NAME)},
        {"name": "b", "strict": True, "parameters": {"type": "object", "properties": {"c": {}}}},
    ]
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": f} for f in functions],
    }
    conversation = PROTOCOLS["chat"].parser.parse(body, {}).conversation
    request = PROTOCOLS["messages"].provider.render(conversation, "claude-opus-4-8")
    first, second = request.body["tools"]
    assert first == {"name": "a", "input_schema": schema(name=NAME)}
    assert second == {"name": "b", "input_schema": schema(c={}), "strict": True}
    assert "tools.strict: not possible here with maxLength" in request.losses
