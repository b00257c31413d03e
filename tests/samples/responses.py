"""Responses streams, requests and made-up values that several tests of the protocol use."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from hypothesis import strategies as st
from openai.types.responses import ResponseIncludable

from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses.client import request as responses
from polyvox.protocols.responses.client.stream import Encoder
from polyvox.protocols.responses.provider import request as provider
from polyvox.workflows.conversation import (
    Conversation,
    File,
    Image,
    Json,
    Message,
    Options,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from polyvox.workflows.events import Event
from polyvox.workflows.reply import FinishReason, Reply, Usage
from tests.samples.histories import in_order
from tests.samples.recordings import stream

FIXTURES = Path(__file__).parents[1] / "fixtures" / "responses"


# Recordings whose keepers left out some of the deltas.
ABRIDGED = {"shell"}


_STREAMS = {
    "annotations": "include_raw_annotations_streaming#0",
    "apply-patch": "openai-apply-patch-tool-delete.1",
    "custom-tool": "openai-custom-tool.1",
    "error": "openai-error.1",
    "function-call": "responses_streaming_usage#0",
    "local-shell": "openai-local-shell-tool.1",
    "logprobs": "responses_logprobs_streaming#0",
    "moderation": "responses_moderation_stream#0",
    "phase": "openai-phase.1",
    "program": "programmatic-tool-calling.1",
    "rotating-ids": "github-copilot-id-rotation.1",
    "shell": "openai-shell-container.1",
    "side-by-side": "backfills_missing_results#0",
    "tool-search": "openai_native_tool_search_streaming#0",
}
"""Recorded streams by the names the tests have for them; parts of their ids."""


STREAMS = sorted(_STREAMS.keys() - {"error"})


REQUESTS: list[dict[str, Json]] = json.loads((FIXTURES / "requests.json").read_text("utf-8"))


BODY: dict[str, Json] = {
    "model": "panel",
    "input": "hi",
    "stream": True,
    "include": list(get_args(ResponseIncludable)),
}


def asked(**fields: Json) -> Ask:
    return responses.parse({**BODY, **fields}, {})


def encoder(ask: Ask | None = None) -> Encoder:
    return Encoder(ask or asked(), run_id="run-1", created=100, clock=lambda: 160.5)


def frames(text: str) -> list[tuple[str | None, bytes]]:
    """The events of a stream: name and data."""
    events: list[tuple[str | None, bytes]] = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        said = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in said:
            events.append((said.get("event"), said["data"].encode()))
    return events


def documents(text: bytes) -> list[Json]:
    """The documents of a stream of ours, after checking what every frame has."""
    *events, last = frames(text.decode())
    assert last == (None, b"[DONE]")
    said = [json.loads(data) for _, data in events]
    assert [name for name, _ in events] == [document["type"] for document in said]
    assert [document["sequence_number"] for document in said] == list(range(len(said)))
    return said


def decode(said: Iterable[tuple[str | None, bytes]]) -> list[Event]:
    decoder = provider.decoder()
    events = [event for name, data in said for event in decoder.feed(name, data)]
    return events + decoder.finish()


def original(name: str) -> list[tuple[str | None, bytes]]:
    """The events of a recorded stream: name and data."""
    return frames(stream("responses", _STREAMS[name]).decode())


def recorded(name: str) -> list[Event]:
    return decode(original(name))


def encoded(reply: Reply, events: Iterable[Event] = (), ask: Ask | None = None) -> bytes:
    encoding = encoder(ask)
    return b"".join(encoding.feed(event) for event in events) + encoding.finish(reply)


def spelled(*documents: dict[str, Json]) -> list[tuple[str | None, bytes]]:
    return [(None, json.dumps(document).encode()) for document in documents]


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


names = st.from_regex(r"[a-z]{1,8}", fullmatch=True)


objects = st.dictionaries(names, texts, max_size=2).map(json.dumps)


calls = st.one_of(
    st.builds(ToolCall, names, names, objects, namespace=st.none() | names),
    st.builds(ToolCall, names, names, texts, st.just("custom")),
)


thoughts = st.one_of(
    st.builds(Reasoning, st.just("") | texts, names, st.just("messages")),
    st.builds(Reasoning, st.just(""), names, st.just("messages"), st.just(True)),
    st.builds(Reasoning, texts, st.none(), st.just("chat")),
)


parts = st.one_of(st.builds(Text, st.just("") | texts), st.builds(Refusal, texts), thoughts, calls)


counts = st.integers(0, 10**6)


def ended(said: list[Part], usage: Usage, cut: bool) -> Reply:
    finish: FinishReason = "length" if cut else "stop"
    if not cut and any(isinstance(part, Refusal) for part in said):
        finish = "refusal"
    if not cut and any(isinstance(part, ToolCall) for part in said):
        finish = "tool_calls"
    return Reply(tuple(said), finish, usage, "panel")


replies = st.builds(
    ended,
    st.lists(parts, max_size=5),
    st.builds(Usage, counts, counts, counts, counts, counts),
    st.booleans(),
)


contents = st.one_of(
    st.builds(Text, texts),
    st.builds(Image, st.builds(Source, st.just("image/png"), names), st.just("low")),
    st.builds(Image, st.builds(Source, url=st.just("https://example.org/i")), st.just("auto")),
    st.builds(File, st.builds(Source, st.just("application/pdf"), names), names),
)


results = st.builds(
    ToolResult,
    names,
    st.lists(contents, min_size=2, max_size=3).map(tuple) | st.tuples(st.builds(Text, texts)),
    kind=st.sampled_from(["function", "custom"]),
)


own_thoughts = st.builds(Reasoning, texts, names, st.just("responses"))


messages = st.one_of(
    st.builds(
        Message,
        st.sampled_from(["user", "developer", "system"]),
        st.lists(contents, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Message, st.just("assistant"), st.tuples(calls | own_thoughts)),
    st.builds(
        Message,
        st.just("assistant"),
        st.lists(st.builds(Text, texts) | st.builds(Refusal, texts), min_size=1).map(tuple),
    ),
    st.builds(Message, st.just("tool"), st.tuples(results)),
)


schemas = st.just({"type": "object"})


tools = st.one_of(
    st.builds(Tool, names, st.none() | texts, schemas, strict=st.booleans()),
    st.builds(Tool, names, st.none() | texts, kind=st.just("custom")),
)


options = st.builds(
    Options,
    max_tokens=st.none() | st.integers(16, 99),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    tool_choice=st.none()
    | st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]))
    | st.builds(ToolChoice, st.just("tool"), names),
    parallel_tool_calls=st.none() | st.booleans(),
    effort=st.none() | st.sampled_from(["low", "high"]),
    format=st.none()
    | st.just(OutputFormat("json_object"))
    | st.builds(OutputFormat, st.just("json_schema"), schemas, names, st.none() | st.booleans()),
)


conversations = st.builds(
    Conversation,
    st.lists(messages, max_size=4).map(lambda said: in_order(said, "tool")),
    st.none() | st.builds(Message, st.just("system"), st.tuples(st.builds(Text, texts))),
    st.lists(tools, max_size=2).map(tuple),
    options,
)
