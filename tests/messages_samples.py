"""Recorded Messages streams, and strategies for what this protocol can say without loss."""

from collections.abc import Mapping
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
from polyvox.workflows.reply import Reply, Usage

RECORDED = Path(__file__).parent / "fixtures" / "messages"

BROKEN = {"spliced_message_start"}
"""Recordings in which a proxy broke the protocol."""

STREAMS = sorted(path.stem for path in RECORDED.glob("*.sse") if path.stem not in BROKEN)


def frames(stream: bytes) -> list[tuple[str | None, bytes]]:
    """Split a stream into (event name, data); comments give nothing."""
    found = []
    for block in stream.split(b"\n\n"):
        lines = [line.partition(b": ") for line in block.split(b"\n")]
        data = [value for name, _, value in lines if name == b"data"]
        names = [value.decode() for name, _, value in lines if name == b"event"]
        if data:
            found.append((names[0] if names else None, b"\n".join(data)))
    return found


def recorded(name: str) -> list[tuple[str | None, bytes]]:
    return frames((RECORDED / f"{name}.sse").read_bytes())


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
tools = st.builds(
    Tool, ids, st.none() | words, objects.map(lambda o: {"type": "object", "properties": o})
)
conversations = st.builds(
    Conversation,
    st.lists(turns, min_size=1, max_size=3).map(lambda t: tuple(m for turn in t for m in turn)),
    st.none() | st.lists(texts, min_size=1, max_size=2).map(lambda t: Message("system", tuple(t))),
    st.lists(tools, min_size=1, max_size=2).map(tuple),
)
counts = st.integers(0, 10**6)
opaques = st.builds(
    lambda name, said: Wire("messages", {"type": f"x_{name}", "said": said}), ids, objects
)
replies = st.builds(
    Reply,
    st.lists(st.one_of(texts, calls, reasoning), max_size=4).map(tuple),
    st.sampled_from(["length", "tool_calls", "refusal", "pause"]),
    st.builds(Usage, counts, counts, counts, counts, st.none() | counts),
    model=st.just("public-name"),
)
"""Replies this protocol gives back unchanged (``stop`` is told apart by the parts, so not here)."""
