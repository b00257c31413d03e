"""Numbers and spells the frames of a Responses stream."""

import orjson

from polyvox.protocols.responses.include import Included
from polyvox.workflows.conversation import Json


class Frames:
    """The frames of one stream; each has the next sequence number, from 0 without a gap.

    They show what the client asked to see; what is told of the answer elsewhere is all of it.
    """

    __slots__ = ("_included", "_next")

    def __init__(self, included: Included) -> None:
        self._included = included
        self._next = 0

    def number_from(self, number: int) -> None:
        """Give the next frame this sequence number: the ones before it were sent elsewhere."""
        self._next = number

    def event(self, kind: str, members: dict[str, Json]) -> bytes:
        """Return a frame of any event."""
        number = self._next
        self._next = number + 1
        shown = self._included.event(members)
        data = orjson.dumps({"type": kind, "sequence_number": number, **shown})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def raw(self, kind: bytes, response: bytes) -> bytes:
        """Return a frame around a response object that is JSON text already."""
        number = self._next
        self._next = number + 1
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,"response":%b}\n\n' % (
            kind,
            kind,
            number,
            response,
        )

    def delta(self, head: bytes, text: str, tail: bytes) -> bytes:
        """Return a delta frame between the ends that ``delta_ends`` made for its part."""
        number = self._next
        self._next = number + 1
        return b"%b%d%b%b%b" % (head, number, _DELTA, orjson.dumps(text), tail)


_DELTA = b',"delta":'


def delta_ends(kind: str, members: dict[str, Json]) -> tuple[bytes, bytes]:
    """Return what stands around number and text in every delta frame of one part."""
    name = kind.encode()
    head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name, name)
    return head, b"," + orjson.dumps(members)[1:] + b"\n\n"
