"""Tool calls in Chat Completions streams."""

from typing import Any

import pytest

from polyvox.protocols.chat.provider import request as chat
from polyvox.workflows.conversation import Text, ToolCall
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import PartDelta, PartEnded, PartStarted
from tests.samples.chat_chunks import answered, call, chunk


def test_two_calls_written_in_turns_are_put_in_order() -> None:
    """The second call waits until the first cannot grow any more."""
    data = [
        chunk({"role": "assistant", "content": None}),
        chunk(call(0, "f", id="c0")),
        chunk(call(1, "g", id="c1")),
        chunk(call(1, text='{"b":')),
        chunk(call(0, text='{"a":')),
        chunk(call(1, text="2}")),
        chunk(call(0, text="1}")),
        chunk(reason="tool_calls"),
        b"[DONE]",
    ]
    assert answered(*data).parts == (
        ToolCall("c0", "f", '{"a":1}'),
        ToolCall("c1", "g", '{"b":2}'),
    )


def test_a_whole_call_ends_as_soon_as_the_next_begins() -> None:
    """A client sees the second call live."""
    decoder = chat.decoder()
    decoder.feed(None, chunk(call(0, "f", '{"a":1}', id="c0")))
    events = decoder.feed(None, chunk(call(1, "g", '{"b"', id="c1")))
    assert events == [
        PartEnded(ToolCall("c0", "f", '{"a":1}')),
        PartStarted(ToolCall("c1", "g", "")),
        PartDelta('{"b"'),
    ]


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        pytest.param(
            [call(0, "f", id="a"), call(0, "g", id="b")],
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="every call numbered 0",
        ),
        pytest.param(
            [call(None, "f", '{"x":', id="a"), call(None, text="1}"), call(None, "g", id="b")],
            [("a", "f", '{"x":1}'), ("b", "g", "{}")],
            id="no index",
        ),
        pytest.param(
            [call(None, "f", '{"x":', id="a"), call(None, "f", "1}", id="a")],
            [("a", "f", '{"x":1}')],
            id="no index, id repeated",
        ),
        pytest.param(
            [call(0, "f", '{"x":', id="a"), call(0, "f", "1}", id="a")],
            [("a", "f", '{"x":1}')],
            id="id and name repeated",
        ),
        pytest.param(
            [
                call(0, "f", '{"x":', id="a"),
                call(0, "g", '{"y":', id="b"),
                call(0, text="1}", id="a"),
                call(0, text="2}", id="b"),
            ],
            [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
            id="every call numbered 0, in turns",
        ),
        pytest.param(
            [call(None, "f", '{"x":1}'), call(None, "g", '{"y":2}')],
            [(None, "f", '{"x":1}'), (None, "g", '{"y":2}')],
            id="neither index nor id",
        ),
        pytest.param(
            [call(None, "f", '{"x":1}'), call(None, "f", '{"x":2}')],
            [(None, "f", '{"x":1}'), (None, "f", '{"x":2}')],
            id="neither index nor id, one name",
        ),
        pytest.param(
            [call(0, "f", '{"x":1}', id="a"), call(0, text='{"x":2}', id="b")],
            [("a", "f", '{"x":1}'), ("b", "f", '{"x":2}')],
            id="a new id without a name",
        ),
        pytest.param(
            [call(0, "f", '{"x":1}{"x"', id="a"), call(0, text=":2}", id="a")],
            [("a", "f", '{"x":1}'), (None, "f", '{"x":2}')],
            id="two objects in one text",
        ),
        pytest.param(
            [call(0, "f", "{}", id="a"), call(0, text='{"x":'), call(0, text="1}")],
            [("a", "f", '{"x":1}')],
            id="an empty object before the arguments",
        ),
        pytest.param(
            [
                {"function_call": {"name": "f", "arguments": "{"}},
                {"function_call": {"arguments": "}"}},
            ],
            [(None, "f", "{}")],
            id="the older function_call",
        ),
        pytest.param(
            [
                {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "a",
                            "type": "function",
                            "function": {"name": "f", "arguments": {"x": 1}},
                        }
                    ]
                }
            ],
            [("a", "f", '{"x":1}')],
            id="arguments as an object",
        ),
        pytest.param(
            [
                {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "a",
                            "type": "custom",
                            "custom": {"name": "f", "input": "fr"},
                        }
                    ]
                },
                {"tool_calls": [{"index": 0, "custom": {"input": "ee"}}]},
            ],
            [("a", "f", "free")],
            id="custom",
        ),
    ],
)
def test_calls_of_every_dialect_are_understood(
    deltas: list[Any], calls: list[tuple[str | None, str, str]]
) -> None:
    """Compatible servers number and spell calls in their own ways."""
    reply = answered(*map(chunk, deltas), chunk(reason="stop"))
    assert [
        (c.id if want[0] else None, c.name, c.arguments)
        for c, want in zip(reply.tool_calls, calls, strict=True)
    ] == calls
    assert all(c.id for c in reply.tool_calls)
    assert reply.finish == "tool_calls"


def test_text_after_a_call_began_comes_after_it() -> None:
    """One part is open at a time."""
    reply = answered(
        chunk(call(0, "f", "{", id="a")),
        chunk({"content": "late"}),
        chunk(call(0, text="}")),
        chunk(reason="tool_calls"),
    )
    assert reply.parts == (ToolCall("a", "f", "{}"), Text("late"))


def test_a_call_that_goes_on_after_its_end_is_a_bad_stream() -> None:
    """It was already shown as whole: nothing that comes then can be true."""
    decoder = chat.decoder()
    decoder.feed(None, chunk(call(0, "f", "{}", id="a")))
    decoder.feed(None, chunk(call(1, "g", id="b")))
    decoder.feed(None, chunk(call(0, text="\n")))
    with pytest.raises(ModelError) as caught:
        decoder.feed(None, chunk(call(0, text="{}")))
    assert caught.value.kind == "bad_stream"


def test_thousands_of_objects_in_one_text_are_a_bad_stream() -> None:
    """Nobody calls so many tools; a hostile server could make their work add up."""
    with pytest.raises(ModelError) as caught:
        chat.decoder().feed(None, chunk(call(0, "f", '{"a":1}' * 5_000, id="a")))
    assert caught.value.kind == "bad_stream"


def test_half_a_document_that_ends_in_a_brace_is_not_whole() -> None:
    """Only a complete JSON document closes a call early."""
    reply = answered(
        chunk(call(0, "f", '{"a": {}', id="a")),
        chunk(call(1, "g", id="b")),
        chunk(call(0, text="}")),
        chunk(reason="tool_calls"),
    )
    assert reply.parts == (ToolCall("a", "f", '{"a": {}}'), ToolCall("b", "g", "{}"))


def test_signatures_of_a_call_that_come_late_are_its_own() -> None:
    """They ride on the live call and end up in its spelling."""
    signature = {"google": {"thought_signature": "s"}}
    decoder = chat.decoder()
    decoder.feed(None, chunk(call(0, "f", "{", id="a")))
    [delta] = decoder.feed(None, chunk(call(0, extra_content=signature)))
    assert isinstance(delta, PartDelta)
    assert delta.wire is not None
    assert delta.wire.json == {"delta": {"tool_calls": [{"extra_content": signature}]}}
    ended = decoder.feed(None, chunk(call(0, text="}"), reason="tool_calls"))[-1]
    assert isinstance(ended, PartEnded)
    assert ended.part.wire is not None
    [entry] = ended.part.wire.json["tool_calls"]
    assert entry["extra_content"] == signature
    assert entry["function"]["arguments"] == "{}"
