"""Counting routes pass a request on to a provider of the same protocol, and its answer back."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.programs.recording_provider import Received, RecordingProvider, recording_provider
from tests.programs.running import KEY, PROTOCOLS, Live, live_program

PATHS = {"messages": "/v1/messages/count_tokens", "responses": "/v1/responses/input_tokens"}
HELLO = {"messages": "messages", "responses": "input"}
FURTHER: dict[str, dict[str, Any]] = {
    "messages": {
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "mcp_servers": [{"type": "url", "name": "d", "url": "https://d/0123456789abcdef"}],
        "speed": "fast",
        "cache_control": {"type": "ephemeral"},
        "unknown": {"a": [1]},
    },
    "responses": {
        "personality": "friendly",
        "parallel_tool_calls": False,
        "truncation": "auto",
        "unknown": {"a": [1]},
    },
}


@pytest.fixture(scope="module")
def provider() -> Iterator[RecordingProvider]:
    def count(_: Received) -> tuple[int, Any]:
        managed = {"original_input_tokens": 70}
        return 200, {"input_tokens": 42, "context_management": managed, "new": [1]}

    with recording_provider(count) as served:
        yield served


@pytest.fixture(scope="module")
def program(
    tmp_path_factory: pytest.TempPathFactory, provider: RecordingProvider
) -> Iterator[Live]:
    tables = [
        f'[providers.own-{p}]\nprotocol = "{p}"\nbase_url = "{provider.url}"\n' for p in PROTOCOLS
    ]
    folder = tmp_path_factory.mktemp("counts")
    with live_program(folder, provider.url, more="\n".join(tables)) as live:
        yield live


def counted(program: Live, client: str, provider: str, **members: Any) -> httpx.Response:
    hello = [{"role": "user", "content": "hi"}]
    return httpx.post(
        program.base_url + PATHS[client],
        json={"model": f"own-{provider}:m", HELLO[client]: hello, **members},
        headers={"x-api-key": KEY, "anthropic-beta": "context-management-2025-06-27"},
        trust_env=False,
        timeout=60,
    )


@pytest.mark.parametrize("protocol", PATHS)
def test_members_pass_both_ways(program: Live, provider: RecordingProvider, protocol: str) -> None:
    """Whether they are known here or not."""
    provider.received.clear()
    answer = counted(program, protocol, protocol, **FURTHER[protocol])
    (received,) = provider.received
    assert received.path == PATHS[protocol]
    hello = [{"role": "user", "content": "hi"}]
    assert received.body == {"model": "m", HELLO[protocol]: hello, **FURTHER[protocol]}
    said = {"input_tokens": 42, "context_management": {"original_input_tokens": 70}, "new": [1]}
    own = {"object": "response.input_tokens"} if protocol == "responses" else {}
    assert answer.json() == {**own, **said}
    assert not {"x-polyvox-estimate", "x-polyvox-losses"} & answer.headers.keys()


@pytest.mark.parametrize("protocol", PATHS)
def test_what_the_route_refuses_is_left_out_and_named(
    program: Live, provider: RecordingProvider, protocol: str
) -> None:
    """Agents send the request they are about to make."""
    provider.received.clear()
    answer = counted(program, protocol, protocol, temperature=0.5, metadata={})
    assert not {"temperature", "metadata"} & provider.received[0].body.keys()
    losses = answer.headers["x-polyvox-losses"]
    assert "temperature: not counted" in losses
    assert "metadata: not counted" in losses


def test_a_provider_of_another_protocol_gets_what_its_route_takes(
    program: Live, provider: RecordingProvider
) -> None:
    """And only its count is passed on."""
    provider.received.clear()
    answer = counted(program, "messages", "responses", speed="fast", max_tokens=100)
    assert provider.received[0].path == PATHS["responses"]
    assert not {"speed", "max_output_tokens", "stream"} & provider.received[0].body.keys()
    assert answer.json() == {"input_tokens": 42}


def test_a_provider_without_a_route_is_estimated(program: Live) -> None:
    """Chat has none."""
    answer = counted(program, "messages", "chat")
    assert answer.headers["x-polyvox-estimate"] == "true"
    assert answer.json()["input_tokens"] > 0
