"""Requests in another protocol's spelling reach every provider, directly and through flows."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.programs.recording_provider import (
    ANSWERS,
    Received,
    RecordingProvider,
    recording_provider,
)
from tests.programs.running import PROTOCOLS, Live, live_program

PIXEL = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"p": {"type": "string"}}}
PARTS: dict[str, list[Any]] = {
    "chat": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ],
    "responses": [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
    ],
    "messages": [
        {"type": "text", "text": "What is this?"},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
        },
    ],
}
TOOLS: dict[str, Any] = {
    "chat": {"type": "function", "function": {"name": "look", "parameters": SCHEMA}},
    "responses": {"type": "function", "name": "look", "parameters": SCHEMA},
    "messages": {"name": "look", "input_schema": SCHEMA},
}
FLOWS = ("direct", "fusion", "router", "verify")


@pytest.fixture(scope="module")
def provider() -> Iterator[RecordingProvider]:
    def answer(received: Received) -> tuple[int, Any]:
        kind = {"/v1/chat/completions": "chat", "/v1/responses": "responses"}
        return 200, ANSWERS[kind.get(received.path, "messages")]("A pixel.")

    with recording_provider(answer) as served:
        yield served


@pytest.fixture(scope="module")
def program(
    tmp_path_factory: pytest.TempPathFactory, provider: RecordingProvider
) -> Iterator[Live]:
    tables: list[str] = []
    for p in PROTOCOLS:
        tables.append(f'[providers.own-{p}]\nprotocol = "{p}"\nbase_url = "{provider.url}"\n')
        model = f'"own-{p}:m"'
        params = {
            "direct": f"model = {model}",
            "fusion": f'main = {model}\njudge = {model}\npanel = [{model}]\nmode = "off"',
            "router": f"default = {model}",
            "verify": f"model = {model}",
        }
        tables += [
            f'[models.{flow}-{p}]\nflow = "{flow}"\n[models.{flow}-{p}.params]\n{lines}\n'
            for flow, lines in params.items()
        ]
    folder = tmp_path_factory.mktemp("foreign")
    with live_program(folder, provider.url, more="\n".join(tables)) as live:
        yield live


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("to", PROTOCOLS)
@pytest.mark.parametrize("spelled", PROTOCOLS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_request_in_any_spelling_is_answered(
    program: Live, provider: RecordingProvider, protocol: str, spelled: str, to: str, flow: str
) -> None:
    """The provider gets picture, words and tool in its own protocol's spelling."""
    provider.received.clear()
    messages = [{"role": "user", "content": PARTS[spelled]}]
    name = "input" if spelled == "responses" and protocol == "chat" else "messages"
    name = "input" if protocol == "responses" and spelled != "chat" else name
    request: dict[str, Any] = {"model": f"{flow}-{to}", name: messages, "tools": [TOOLS[spelled]]}
    request["max_output_tokens" if spelled == "responses" else "max_tokens"] = 100
    answer = program.post(protocol, {**request, "stream": flow == "fusion"})
    assert answer.status_code == 200, answer.text
    assert "A pixel." in answer.text
    body = provider.received[0].body
    sent = body["input" if to == "responses" else "messages"][-1]["content"]
    assert [part["type"] for part in sent] == [part["type"] for part in PARTS[to]]
    assert PIXEL in str(sent)
    (tool,) = body["tools"]
    inner = tool.get("function", tool)
    assert inner["name"] == "look"
    assert inner.get("parameters", inner.get("input_schema")) == SCHEMA
    assert [key for key in body if key.startswith("max_")] in (
        [["max_output_tokens"]]
        if to == "responses"
        else [["max_tokens"], ["max_completion_tokens"]]
    )
