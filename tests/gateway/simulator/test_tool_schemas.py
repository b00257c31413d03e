"""Tools whose parameters are not a JSON Schema: a 400 of the protocol, as at a provider."""

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from polyvox.gateway.simulator.listening import serve
from polyvox.workflows.conversation import Json

SPOILED: Final = {
    "properties null": {"type": "object", "properties": None},
    "properties a list": {"type": "object", "properties": ["city"]},
    "properties a text": {"type": "object", "properties": "city"},
    "a property null": {"type": "object", "properties": {"city": None}},
    "a property a list": {"type": "object", "properties": {"city": ["string"]}},
    "a property a number": {"type": "object", "properties": {"city": 3}},
    "required a text": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": "city",
    },
    "required a number": {"properties": {"city": {"type": "string"}}, "required": 1},
    "an unknown type": {"type": "object", "properties": {"city": {"type": "town"}}},
    "an enum that is no list": {"properties": {"city": {"enum": 5}}},
}
TEXTS: Final = {
    "named": "Use the get_weather tool for Paris.",
    "described": "What is the weather in Paris and Rome?",
}
DESCRIPTION: Final = "Get the weather of a city."


def body_for(path: str, parameters: Json, text: str, *, stream: bool) -> dict[str, Any]:
    said = {"name": "get_weather", "description": DESCRIPTION}
    asked = [{"role": "user", "content": text}]
    rest: dict[str, Any]
    match path:
        case "/v1/chat/completions":
            function = {"type": "function", "function": {**said, "parameters": parameters}}
            rest = {"messages": asked, "tools": [function]}
        case "/v1/responses":
            tool = {"type": "function", **said, "parameters": parameters}
            rest = {"input": asked, "tools": [tool]}
        case _:
            rest = {
                "max_tokens": 1000,
                "messages": asked,
                "tools": [{**said, "input_schema": parameters}],
            }
    return {"model": "main", "stream": stream, **rest}


PATHS: Final = ("/v1/chat/completions", "/v1/responses", "/v1/messages")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    running = await serve()
    headers = {"authorization": "Bearer test-key"}
    async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=20) as opened:
        yield opened
    await running.stop()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("path", PATHS)
async def test_a_tool_whose_parameters_are_not_a_schema_is_a_400(
    client: httpx.AsyncClient, path: str, text: str, stream: bool
) -> None:
    for form, parameters in SPOILED.items():
        answer = await client.post(path, json=body_for(path, parameters, text, stream=stream))
        assert answer.status_code == 400, form
        assert "not a valid JSON Schema" in answer.json()["error"]["message"], form


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("path", PATHS)
async def test_a_tool_without_properties_is_called(
    client: httpx.AsyncClient, path: str, text: str
) -> None:
    for parameters in ({"type": "object"}, {"type": "object", "properties": {}}):
        answer = await client.post(path, json=body_for(path, parameters, text, stream=False))
        assert answer.status_code == 200
        assert "get_weather" in answer.text
