"""Requests as other protocols spell them, and broken histories, reach every provider.

Directly and through flows.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from polyvox.workflows.conversation import Protocol
from tests.programs.recording_provider import (
    ANSWERS,
    Received,
    RecordingProvider,
    recording_provider,
)
from tests.programs.running import PROTOCOLS, Live, live_program
from tests.samples.histories import requests
from tests.samples.provider_rules import check_request

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
VIDEO = {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}
PATHS = {
    "chat": "messages[0].content[2]",
    "responses": "input[0].content[2]",
    "messages": "messages.0.content.2",
}


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
        voices = ", ".join(f'"own-{voice}:m"' for voice in PROTOCOLS)
        tables.append(
            f'[models.panel-{p}]\nflow = "fusion"\n[models.panel-{p}.params]\n'
            f'main = {model}\njudge = {model}\npanel = [{voices}]\nmode = "required"\n'
        )
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


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("to", PROTOCOLS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_part_of_an_unknown_type_reaches_its_own_protocol_only(
    program: Live, provider: RecordingProvider, protocol: str, to: str, flow: str, stream: bool
) -> None:
    """For another provider it is a 400 with its path, before anything is paid."""
    provider.received.clear()
    answer = program.post(protocol, unknown_part(protocol, f"{flow}-{to}", stream=stream))
    if to == protocol:
        assert answer.status_code == 200, answer.text
        assert VIDEO in provider.received[0].body[LISTS[to]][0]["content"]
        return
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith(f"{PATHS[protocol]}: ")
    assert error.get("param", PATHS[protocol]) == PATHS[protocol]
    assert "video_url" in error["message"]
    assert provider.received == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_voices_of_other_protocols_are_missing_from_a_panel(program: Live, protocol: str) -> None:
    """The answer comes from the voices that have seen the part; the run names the others."""
    answer = program.post(protocol, unknown_part(protocol, f"panel-{protocol}", stream=False))
    assert answer.status_code == 200, answer.text
    run = program.ended(answer.headers["x-polyvox-run"])
    voices = [call for call in run["calls"] if call["step"].startswith("branch")]
    kinds = {call["provider"]: (call["error"] or {}).get("kind") for call in voices}
    others = {f"own-{p}": "unsupported" for p in PROTOCOLS if p != protocol}
    assert kinds == {f"own-{protocol}": None, **others}


LISTS = {"chat": "messages", "responses": "input", "messages": "messages"}


def unknown_part(protocol: str, model: str, *, stream: bool) -> dict[str, Any]:
    content = [*PARTS[protocol], VIDEO]
    request: dict[str, Any] = {"model": model, "stream": stream}
    request[LISTS[protocol]] = [{"role": "user", "content": content}]
    return request | ({"max_tokens": 100} if protocol == "messages" else {})


HISTORY: list[Any] = [
    ("call", "list_dir:0", "fs.read", "{}"),
    ("call", "list_dir:0", "fs.read", ""),
    ("result", "list_dir:0", "Fog."),
    ("user", "And then?"),
    ("result", "unknown", "Rain."),
    ("call", None, "fs.read", None),
    ("user", "Go on."),
]
"""Ids that repeat and that not every provider takes, an orphan result and unanswered calls."""


@pytest.mark.parametrize("to", PROTOCOLS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_broken_history_is_fitted_in_every_flow(
    program: Live, provider: RecordingProvider, protocol: Protocol, to: Protocol
) -> None:
    """Each flow sends the history that is sent directly, and a strict provider accepts it."""
    sent: dict[str, Any] = {}
    for flow in FLOWS:
        provider.received.clear()
        request = requests(HISTORY, ["fs.read"])[protocol]
        answer = program.post(protocol, {**request, "model": f"{flow}-{to}", "stream": True})
        assert "A pixel." in answer.text, answer.text
        body = provider.received[0].body
        check_request(to, body, own_names=protocol == to)
        sent[flow] = body[LISTS[to]]
    assert "Rain." in str(sent["direct"])
    assert sent == dict.fromkeys(FLOWS, sent["direct"])
