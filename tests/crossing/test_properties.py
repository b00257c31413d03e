"""Generated conversations and answers, across all pairs of protocols."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import (
    Conversation,
    Image,
    Json,
    Message,
    Options,
    Part,
    Protocol,
    Reasoning,
    Refusal,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from polyvox.workflows.events import Event, PartDelta, fold, unfold
from polyvox.workflows.reply import FinishReason, Reply, Usage
from tests.crossing.passages import asked, decode, encode, meaning
from tests.crossing.validators import check_stream

PAIRS = [(a, b) for a in PROTOCOLS for b in PROTOCOLS if a != b]

words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=12)
names = st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True)
values = st.dictionaries(names, words | st.integers(0, 9) | st.none(), max_size=2)
arguments = values.map(lambda value: orjson.dumps(value).decode())
counts = st.integers(0, 10_000)
images = st.builds(
    Image, st.builds(Source, media_type=st.just("image/png"), data=st.just("iVBORw0KGgo="))
)


@st.composite
def turns(draw: st.DrawFn, number: int) -> list[Message]:
    """A user's question, and what came of it: calls with their results, an answer."""
    asked = draw(st.lists(words.map(Text) | images, min_size=1, max_size=2))
    said = [Message("user", tuple(asked))]
    found = draw(st.lists(st.tuples(names, arguments, words, st.booleans()), max_size=3))
    if found:
        calls = [ToolCall(f"call_{number}_{i}", f[0], f[1]) for i, f in enumerate(found)]
        said.append(Message("assistant", tuple(calls)))
        said += [
            Message("tool", (ToolResult(call.id, (Text(text),), failed),))
            for call, (_, _, text, failed) in zip(calls, found, strict=True)
        ]
    said.append(Message("assistant", (Text(draw(words)),)))
    return said


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    count = draw(st.integers(1, 3))
    talk = [m for number in range(count) for m in draw(turns(number))]
    tools = draw(st.lists(names, max_size=3, unique=True))
    return Conversation(
        messages=(*talk, Message("user", (Text(draw(words)),))),
        system=draw(st.none() | words.map(lambda text: Message("system", (Text(text),)))),
        tools=tuple(Tool(name, draw(words), {"type": "object"}) for name in tools),
        options=Options(max_tokens=draw(st.integers(1_024, 9_999))),
    )


def facts(conversation: Conversation) -> list[Any]:
    """What is said in a conversation, in order, however a protocol cuts it into messages."""
    said: list[Any] = []
    system = conversation.system
    for message in (*((system,) if system else ()), *conversation.messages):
        for part in message.parts:
            match part:
                case Text(text):
                    said.append((message.role, text))
                case ToolCall():
                    said.append((part.id, part.name, orjson.loads(part.arguments)))
                case ToolResult(call_id, parts):
                    text = "".join(p.text for p in parts if isinstance(p, Text))
                    said.append((call_id, text.removeprefix("Error: ")))
                case Image(source):
                    said.append(source)
    said.extend((tool.name, tool.description, tool.parameters) for tool in conversation.tools)
    return [*said, conversation.options.max_tokens]


@settings(deadline=None, max_examples=30)
@given(conversations())
@pytest.mark.parametrize(("front", "over"), PAIRS)
def test_a_conversation_says_the_same_in_every_protocol(
    front: Protocol, over: Protocol, conversation: Conversation
) -> None:
    """From a client of one protocol to a provider of another: same words, calls and results."""
    first = PROTOCOLS[front].parser.parse(_request(front, conversation), {}).conversation
    assert facts(first) == facts(conversation)
    second = PROTOCOLS[over].parser.parse(_request(over, first), {}).conversation
    assert facts(second) == facts(conversation)


def _request(protocol: Protocol, conversation: Conversation) -> Json:
    rendered = PROTOCOLS[protocol].provider.render(conversation, "a-model")
    assert rendered.losses == ()
    return rendered.body


functions = st.builds(ToolCall, names, names, arguments)
reasonings = st.builds(
    Reasoning, words, words, st.sampled_from(list(PROTOCOLS)), st.just(False)
) | st.builds(Reasoning, st.just(""), words, st.just("messages"), st.just(True))
finishes: st.SearchStrategy[FinishReason] = st.sampled_from(["stop", "length"])


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """An answer: thoughts, words, and then calls or a refusal or neither."""
    parts: list[Part] = [
        *draw(st.lists(reasonings, max_size=2)),
        *draw(st.lists(words.map(Text), max_size=2)),
    ]
    finish = draw(finishes)
    calls = draw(st.lists(functions, max_size=3, unique_by=lambda call: call.id))
    if calls:
        parts += calls
        finish = "tool_calls"
    elif draw(st.booleans()):
        parts.append(Refusal(draw(words)))
        finish = "refusal"
    read, write = draw(counts), draw(counts)
    usage = Usage(draw(counts), read, write, draw(counts) + 50, draw(st.integers(0, 50)))
    return Reply(tuple(parts), finish, usage)


@settings(deadline=None, max_examples=30)
@given(replies(), st.data())
@pytest.mark.parametrize("to", PROTOCOLS)
def test_an_answer_says_the_same_to_every_client(
    to: Protocol, reply: Reply, data: st.DataObject
) -> None:
    """However the words were cut, and however much of it was shown before its end."""
    events: list[Event] = []
    for event in unfold(reply)[:-2]:
        if isinstance(event, PartDelta):
            at = data.draw(st.integers(0, len(event.text)))
            pieces = (event.text[:at], event.text[at:])
            events += [PartDelta(piece) for piece in pieces if piece]
        else:
            events.append(event)
    shown = events[: data.draw(st.integers(0, len(events)))]
    frames = encode(asked(to), shown, reply)
    check_stream(to, frames)
    assert meaning(fold(decode(to, frames))) == meaning(reply)
