"""Halves of characters, which servers make that cut text by UTF-16 units."""

import json
from typing import Any

import orjson
import pytest

from polyvox.protocols.decoding.half_characters import repaired
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.boundary.serialization import dump
from polyvox.workflows.conversation import Protocol
from polyvox.workflows.events import PartDelta, fold
from tests.crossing.passages import asked, encode
from tests.samples.provider_answers import decoded, frames, streamed

SMILE = "\N{SLIGHTLY SMILING FACE}"
HIGH, LOW = "\ud83d", "\ude42"
LOST = "\N{REPLACEMENT CHARACTER}"


def deltas(protocol: Protocol, kind: str, *texts: str) -> list[Any]:
    """A stream whose text, thought or call grows by ``texts``."""
    whole = "".join(texts)
    said: list[Any]
    match protocol, kind:
        case "chat", "text":
            said = [{"content": text} for text in texts]
        case "chat", "thought":
            said = [{"reasoning_content": text} for text in texts]
        case "chat", _:
            begun = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":"'}}
            said = [{"tool_calls": [begun]}]
            said += [
                {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
                for text in (*texts, '"}')
            ]
        case "messages", _:
            types = {"text": ("text_delta", "text"), "thought": ("thinking_delta", "thinking")}
            name, member = types.get(kind, ("input_json_delta", "partial_json"))
            start: Any = {
                "text": {"type": "text", "text": ""},
                "thought": {"type": "thinking", "thinking": "", "signature": "s"},
            }.get(kind, {"type": "tool_use", "id": "c", "name": "f", "input": {}})
            texts = ('{"a":"', *texts, '"}') if kind == "call" else texts
            return [
                {"type": "message_start", "message": {"model": "m"}},
                {"type": "content_block_start", "index": 0, "content_block": start},
                *(
                    {
                        "type": "content_block_delta",
                        "index": 0,
                        "delta": {"type": name, member: text},
                    }
                    for text in texts
                ),
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
                {"type": "message_stop"},
            ]
        case _:
            item: Any = {
                "text": {
                    "type": "message",
                    "id": "m",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": whole}],
                },
                "thought": {
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": whole}],
                },
                "call": {
                    "type": "function_call",
                    "call_id": "c",
                    "name": "f",
                    "arguments": f'{{"a":"{whole}"}}',
                },
            }[kind]
            name = {
                "text": "output_text",
                "thought": "reasoning_summary_text",
                "call": "function_call_arguments",
            }[kind]
            blank = {**item, **({"content": []} if kind == "text" else {"summary": []})}
            texts = ('{"a":"', *texts, '"}') if kind == "call" else texts
            where = {"output_index": 0, "content_index": 0, "summary_index": 0}
            return [
                {"type": "response.output_item.added", **where, "item": blank},
                *({"type": f"response.{name}.delta", **where, "delta": text} for text in texts),
                {"type": "response.output_item.done", **where, "item": item},
                {"type": "response.completed", "response": {"status": "completed"}},
            ]
    choices = [{"index": 0, "delta": delta} for delta in said]
    return [{"choices": [c]} for c in [*choices, {"index": 0, "finish_reason": "stop"}]]


@pytest.mark.parametrize("kind", ["text", "thought", "call"])
@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        ((HIGH, LOW), SMILE),
        (("a" + HIGH, LOW + "b"), f"a{SMILE}b"),
        ((HIGH, "b"), f"{LOST}b"),
        (("a", LOW), f"a{LOST}"),
        (("a", HIGH), f"a{LOST}"),
        ((HIGH, HIGH, LOW), f"{LOST}{SMILE}"),
        (("a" + HIGH + LOW,), f"a{SMILE}"),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_halves_are_joined_or_replaced(
    protocol: Protocol, texts: tuple[str, ...], whole: str, kind: str
) -> None:
    """In the deltas, in the whole, and towards every client."""
    events = decoded(protocol, frames(*deltas(protocol, kind, *texts)))
    expected = f'{{"a":"{whole}"}}' if kind == "call" else whole
    assert "".join(e.text for e in events if isinstance(e, PartDelta)) == expected
    reply = fold(events)
    assert expected in str(reply.parts[0]) or kind == "call"
    orjson.dumps(dump(reply))
    for name, spoken in PROTOCOLS.items():
        said = b"".join(data for _, data in encode(asked(name), events, reply))
        document = spoken.answers.render(asked(name), reply, run_id="r", created=0)
        assert b"\\ud8" not in said
        # A thought of another protocol is in the document under another name.
        assert whole in orjson.dumps(document).decode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bytes_that_are_not_utf8_are_replaced(protocol: Protocol) -> None:
    stream = streamed(protocol, "aXbc", reason="stop")
    events = decoded(protocol, [(name, data.replace(b"X", b"\xf0\x9f")) for name, data in stream])
    assert fold(events).text == f"a{LOST}bc"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_halves_that_are_bytes_are_joined(protocol: Protocol) -> None:
    """CESU-8, in one event and in two."""
    high, low = (half.encode("utf-8", "surrogatepass") for half in (HIGH, LOW))
    stream = streamed(protocol, "aXYbXZX", reason="stop")
    for mark, data in ((b"X", high), (b"Y", low), (b"Z", low)):
        stream = [(name, frame.replace(mark, data)) for name, frame in stream]
    assert fold(decoded(protocol, stream)).text == f"a{SMILE}b{SMILE}{LOST}"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (json.dumps(HIGH), '"\\ufffd"'),
        (json.dumps(f"{HIGH}{LOW}{LOW}"), '"\\ud83d\\ude42\\ufffd"'),
        (r'"\\ud83d"', None),
        (r'"\\\ud83d"', r'"\\\ufffd"'),
        ('"a"', None),
    ],
)
def test_only_halves_are_repaired(text: str, whole: str | None) -> None:
    """An escaped backslash before the letters is no escape."""
    assert repaired(text.encode()) == (None if whole is None else whole.encode())
