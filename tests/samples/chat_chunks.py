"""Chunks of Chat Completions streams, and what every decoded stream must keep to."""

from collections.abc import Iterable
from typing import Any

import orjson

from polyvox.protocols.chat.provider import request as chat
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
    fold,
    opened,
    written,
)
from polyvox.workflows.reply import Reply
from tests.samples.recordings import stream

STREAMS = {
    "final_result": "test_mcp_tools_not_cached_when_disabled#2",
    "get_weather": "test_dbos/test_complex_agent_run_in_workflow#1",
    "long_arguments": "test_prefect/test_multiple_agents#3",
    "long_text": "openai-text",
    "prefect_tool": "test_complex_agent_run_in_flow#1",
    "text": "test_dbos_agent_iter_in_workflow#0",
    "two_tools_at_once": "test_complex_agent_run_sequential_tool#0",
}
"""Recorded streams by the names the tests have for them; parts of their ids."""


def frames(name: str) -> list[bytes]:
    blocks = stream("chat", STREAMS[name]).split(b"\n\n")
    return [block.removeprefix(b"data: ") for block in blocks if block]


def decode(data: Iterable[bytes]) -> list[Event]:
    decoder = chat.decoder()
    events = [event for frame in data for event in decoder.feed(None, frame)]
    return events + decoder.finish()


def chunk(delta: Any = None, reason: str | None = None, **choice: Any) -> bytes:
    said = {"index": 0, "delta": delta or {}, "finish_reason": reason, **choice}
    return orjson.dumps({"id": "x", "model": "m-1", "choices": [said]})


def call(
    index: int | None, name: str | None = None, text: str = "", **entry: Any
) -> dict[str, Any]:
    function = {"arguments": text} | ({"name": name} if name else {})
    numbered = {} if index is None else {"index": index}
    return {"tool_calls": [{**numbered, "function": function, **entry}]}


def check_grammar(events: list[Event]) -> None:
    """Started, then parts one at a time whose deltas make up what they end as."""
    assert isinstance(events[0], Started)
    part, grown = None, ""
    for event in events[1:]:
        match event:
            case PartStarted(begun):
                assert part is None
                part, grown = begun, ""
            case PartDelta(text):
                assert part is not None
                grown += text
            case PartEnded(ended):
                assert part == opened(ended)
                assert grown == written(ended)
                part = None
            case UsageReported() | Finished():
                assert part is None


def answered(*data: bytes) -> Reply:
    events = decode(data)
    check_grammar(events)
    return fold(events)
