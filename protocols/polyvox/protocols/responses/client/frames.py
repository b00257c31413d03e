"""Numbers and writes the frames of a Responses stream."""

import orjson

from polyvox.protocols.responses.include import Included
from polyvox.workflows.conversation import Json


class Frames:
    """The frames of one stream; each has the next sequence number, from 0 without a gap.

    They hold only the members that the client's ``include`` requests.
    """

    __slots__ = ("_included", "_next")

    def __init__(self, included: Included) -> None:
        self._included = included
        self._next = 0

    def number_from(self, number: int) -> None:
        """Set the sequence number of the next frame; earlier frames were sent on another stream."""
        self._next = number

    def event(self, kind: str, members: dict[str, Json]) -> bytes:
        """Return a frame of any event."""
        number = self._next
        self._next = number + 1
        shown = self._included.event(members)
        data = orjson.dumps({"type": kind, "sequence_number": number, **shown})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def raw(self, kind: bytes, response: bytes) -> bytes:
        """Return a frame around a response object that is already JSON text."""
        number = self._next
        self._next = number + 1
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,"response":%b}\n\n' % (
            kind,
            kind,
            number,
            response,
        )

    def delta(self, head: bytes, text: str, tail: bytes) -> bytes:
        """Return a delta frame from the head and tail that ``delta_ends`` made for its part."""
        number = self._next
        self._next = number + 1
        return b"%b%d%b%b%b" % (head, number, _DELTA, orjson.dumps(text), tail)


_DELTA = b',"delta":'


def delta_ends(kind: str, members: dict[str, Json]) -> tuple[bytes, bytes]:
    """Return the bytes before the number and after the text in each delta frame of one part."""
    name = kind.encode()
    head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name, name)
    return head, b"," + orjson.dumps(members)[1:] + b"\n\n"
