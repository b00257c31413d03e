"""Recorded Messages streams, and strategies for what this protocol can say without loss."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import orjson
from hypothesis import strategies as st

from polyvox.workflows.conversation import (
    Conversation,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Wire,
)
from polyvox.workflows.reply import FinishReason, Reply, Usage
from tests.samples.histories import in_order
from tests.samples.recordings import stream

RECORDED = Path(__file__).parents[1] / "fixtures" / "messages"

BROKEN = {"spliced_message_start"}
"""Recordings in which a proxy broke the protocol."""

_STREAMS = {
    "clear_tool_uses_1": "anthropic-clear-tool-uses.1",
    "code_execution_20260120_prompt_cache_1": "anthropic-code-execution-20260120-prompt-cache.1",
    "code_execution_tool_stream_0": "test_anthropic_code_execution_tool_stream#0",
    "compaction_1": "anthropic-compaction.1",
    "duplicate_message_start": "duplicate-message-start",
    "json_output_format_1": "anthropic-json-output-format.1",
    "json_tool_2": "anthropic-json-tool.2",
    "model_thinking_part_stream_0": "test_anthropic_model_thinking_part_stream#0",
    "native_tool_search_streaming_0": "test_anthropic_native_tool_search_streaming#0",
    "native_tool_search_streaming_1": "test_anthropic_native_tool_search_streaming#1",
    "refusal": "anthropic-refusal.chunks",
    "request_stream_fallback_for_high_max_tokens_0": "fallback_for_high_max_tokens#0",
    "spliced_message_start": "spliced-message-start",
    "text_parts_ahead_of_built_in_tool_call_2": "text_parts_ahead_of_built_in_tool_call#2",
    "tool_no_args": "anthropic-tool-no-args",
    "tool_search_regex_1": "anthropic-tool-search-regex.1",
    "web_fetch_tool_1": "anthropic-web-fetch-tool.1",
    "web_fetch_tool_stream_0": "test_anthropic_web_fetch_tool_stream#0",
}
"""Recorded streams by the names the tests have for them; parts of their ids."""

STREAMS = sorted(_STREAMS.keys() - BROKEN)


def frames(text: bytes) -> list[tuple[str | None, bytes]]:
    """Split a stream into (event name, data); comments give nothing."""
    found = []
    for block in text.split(b"\n\n"):
        lines = [line.partition(b": ") for line in block.split(b"\n")]
        data = [value for name, _, value in lines if name == b"data"]
        names = [value.decode() for name, _, value in lines if name == b"event"]
        if data:
            found.append((names[0] if names else None, b"\n".join(data)))
    return found


def recorded(name: str) -> list[tuple[str | None, bytes]]:
    found = frames(stream("messages", _STREAMS[name]))
    # The keeper of one recording joined two answers.
    ends = [number for number, (event, _) in enumerate(found, start=1) if event == "message_stop"]
    return found[: ends[0]]


def sse(*events: Mapping[str, object]) -> list[tuple[str | None, bytes]]:
    return [(str(event["type"]), orjson.dumps(event)) for event in events]


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)
ids = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
base64s = st.sampled_from(["aGVsbG8=", "AAECAw==", "8J+Yig=="])
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words
objects = st.dictionaries(words, scalars | st.lists(scalars, max_size=2), max_size=3)
sources = st.one_of(
    st.builds(Source, st.just("image/png"), base64s),
    st.builds(Source, url=words),
)
documents = st.one_of(
    st.builds(Source, st.just("application/pdf"), base64s),
    st.builds(Source, st.just("text/plain"), st.just("aGVsbG8=")),
    st.builds(Source, url=words),
)
texts = st.builds(Text, words)
images = st.builds(Image, sources)
files = st.builds(File, documents, st.none() | words)
calls = st.builds(ToolCall, ids, ids, objects.map(lambda o: orjson.dumps(o).decode()))
results = st.builds(
    ToolResult, ids, st.lists(texts | images | files, max_size=2).map(tuple), st.booleans()
)
signed = st.builds(Reasoning, words, words, st.just("messages"))
redacted = st.builds(Reasoning, st.just(""), words, st.just("messages"), redacted=st.just(True))
reasoning = signed | redacted


def _turn(asked: list[Part], answered: list[Part]) -> list[Message]:
    asked = sorted(asked, key=lambda part: not isinstance(part, ToolResult))
    return [Message("user", tuple(asked)), Message("assistant", tuple(answered))]


turns = st.builds(
    _turn,
    st.lists(st.one_of(texts, images, files, results), min_size=1, max_size=3),
    st.lists(st.one_of(texts, calls, reasoning), min_size=1, max_size=3),
)


def _in_order(asked: list[list[Message]]) -> tuple[Message, ...]:
    """Return the turns with a result for each call, ended by the user, as the API requires it."""
    said: list[Message] = []
    for message in in_order((m for turn in asked for m in turn), "user"):
        follows = said and said[-1].role == message.role
        before = said.pop().parts if follows else ()
        said.append(replace(message, parts=(*before, *message.parts)))
    if said[0].role == "assistant":
        said.insert(0, Message("user", (Text("Hi."),)))
    return tuple(said if said[-1].role == "user" else [*said, Message("user", (Text("And?"),))])


tools = st.builds(
    Tool, ids, st.none() | words, objects.map(lambda o: {"type": "object", "properties": o})
)
conversations = st.builds(
    Conversation,
    st.lists(turns, min_size=1, max_size=3).map(_in_order),
    st.none() | st.lists(texts, min_size=1, max_size=2).map(lambda t: Message("system", tuple(t))),
    st.lists(tools, min_size=1, max_size=2).map(tuple),
)
counts = st.integers(0, 10**6)
opaques = st.builds(
    lambda name, said: Wire("messages", {"type": f"x_{name}", "said": said}), ids, objects
)


def _reply(parts: list[Part], finish: FinishReason, usage: Usage) -> Reply:
    if finish == "tool_calls" and not any(isinstance(part, ToolCall) for part in parts):
        finish = "length"
    return Reply(tuple(parts), finish, usage, model="public-name")


finishes: st.SearchStrategy[FinishReason] = st.sampled_from(
    ["length", "tool_calls", "refusal", "pause"]
)
replies = st.builds(
    _reply,
    st.lists(st.one_of(texts, calls, reasoning), max_size=4),
    finishes,
    st.builds(Usage, counts, counts, counts, counts, st.none() | counts),
)
"""Replies this protocol gives back unchanged (``stop`` is told apart by the parts, so not here)."""
