"""A stream as lines of JSON or as one JSON array, over every provider protocol."""

import pytest

from polyvox.protocols.decoding.body import Body
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Protocol
from tests.samples.provider_answers import document, replied, streamed

MIB = 1024 * 1024
CALL = (("c", "f", '{"n":100000000000000000000}'),)
FORMS = ("lines", "lines with returns", "array", "array in lines")


def in_form(form: str, events: list[bytes]) -> bytes:
    """Return the events as a body."""
    match form:
        case "lines":
            return b"\n".join(events) + b"\n"
        case "lines with returns":
            return b"\r\n\r\n".join(events)
        case "array":
            return b"[" + b",".join(events) + b"]"
        case _:
            return b"[" + b"\n,\r\n".join(events) + b"\n]\n"


@pytest.mark.parametrize("size", [7, MIB])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stream_of_json_is_an_answer(protocol: Protocol, form: str, size: int) -> None:
    """Whatever the pieces in which it arrives; numbers keep their digits."""
    events = [e for _, e in streamed(protocol, "Hi", CALL, "tool_calls") if e != b"[DONE]"]
    said, body = in_form(form, events), Body(MIB)
    for at in range(0, len(said), size):
        assert body.feed(said[at : at + size]) == []
    reply = replied(protocol, body.finish())
    assert (reply.text, reply.finish) == ("Hi", "tool_calls")
    assert reply.tool_calls[0].arguments == CALL[0][2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_end_mark_may_be_a_line(protocol: Protocol) -> None:
    events = [event for _, event in streamed(protocol, "Hi", reason="stop")]
    body = Body(MIB)
    body.feed(in_form("lines", [*events, b"[DONE]"]))
    assert replied(protocol, body.finish()).text == "Hi"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("form", ["array", "array in lines"])
def test_a_whole_answer_may_be_in_an_array(protocol: Protocol, form: str) -> None:
    body = Body(MIB)
    body.feed(in_form(form, [document(protocol, "Hi", reason="stop")]))
    assert replied(protocol, body.finish()).text == "Hi"


@pytest.mark.parametrize("text", [b'{"a":\n1}', b"[1, 2]", b"[]", b'{"a"', b'[{"a":1}', b"{\n}\n"])
def test_other_documents_stay_whole(text: bytes) -> None:
    body = Body(MIB)
    body.feed(text)
    assert body.finish() == [(None, text)]
