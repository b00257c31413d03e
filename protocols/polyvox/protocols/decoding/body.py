"""Splits the body of a provider's answer into frames, whatever its content type says.

A request always asks for a stream. Some servers answer with one whole JSON document, some label
server-sent events as JSON. The first character decides: ``{`` and ``[`` begin a document, ``<``
begins a page, anything else is a stream of server-sent events. A document may be a stream too, in
lines or as an array (``json_events``); it is read at its end.
"""

from typing import Literal

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.decoding.half_characters import repaired
from polyvox.protocols.decoding.json_events import events_of
from polyvox.protocols.sse import Frame, FrameSplitter
from polyvox.workflows.errors import ModelError

BodyKind = Literal["unknown", "events", "document", "page"]

_KINDS: dict[int, BodyKind] = {ord("{"): "document", ord("["): "document", ord("<"): "page"}
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b":", b"data", b"event", b"id", b"retry")
"""How the lines of an event stream begin."""

_SHOWN_BYTES = 200
_MIB = 1024 * 1024


class Body:
    """The body of one answer, fed as it arrives. A document or event is at most ``most_bytes``."""

    def __init__(self, most_bytes: int) -> None:
        self.kind: BodyKind = "unknown"
        self.beginning = b""
        """The first 200 bytes, without a byte order mark and leading white space."""
        self._most_bytes = most_bytes
        self._splitter = FrameSplitter(most_bytes)
        self._text = bytearray()
        self._has_frames = False

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the events that ``chunk`` completes; none for a document or a page."""
        if self.kind == "events":
            if len(self.beginning) < _SHOWN_BYTES and not self._has_frames:
                self.beginning = (self.beginning + chunk)[:_SHOWN_BYTES]
            frames = self._splitter.feed(chunk)
            self._has_frames = self._has_frames or bool(frames)
            return frames
        self._text += chunk
        if self.kind == "unknown":
            return self._recognize()
        if self.kind == "page":
            del self._text[_SHOWN_BYTES:]
        elif len(self._text) > self._most_bytes:
            raise ModelError(
                "too_large",
                f"The provider sent a document that is longer than {self._most_bytes // _MIB} MiB. "
                "It was cut off; server.max_answer_mib in polyvox.toml sets the limit.",
                status=502,
            )
        return []

    def finish(self) -> list[Frame]:
        """Return what the end of the body completes: the last event, or those of the document."""
        if self.kind == "document":
            return [(None, event) for event in events_of(self.document)]
        frames = self._splitter.finish()
        self._has_frames = self._has_frames or bool(frames)
        return frames

    @property
    def document(self) -> bytes:
        """The text of the document, empty for other kinds."""
        return bytes(self._text) if self.kind == "document" else b""

    def may_be_whole(self) -> bool:
        """Whether the last character received can end a document."""
        return self.kind == "document" and bytes(self._text[-64:]).rstrip()[-1:] in (b"}", b"]")

    def is_whole(self) -> bool:
        """Whether the text received is a complete document."""
        if not self.may_be_whole():
            return False
        try:
            parse_json(repaired(self.document) or self.document)
        except orjson.JSONDecodeError:
            return False
        return True

    def is_foreign(self) -> bool:
        """Whether the body is neither a document nor a stream of events."""
        if self.kind == "page":
            return True
        is_stream = self._has_frames or self.beginning.startswith(_FIELDS)
        return self.kind == "events" and not is_stream

    def _recognize(self) -> list[Frame]:
        text = bytes(self._text)
        if len(text) < len(_BOM) and _BOM.startswith(text):
            return []
        text = text.removeprefix(_BOM).lstrip()
        self._text = bytearray(text)
        if not text:
            return []
        self.kind = _KINDS.get(text[0], "events")
        self.beginning = text[:_SHOWN_BYTES]
        if self.kind != "events":
            return []
        self._text = bytearray()
        frames = self._splitter.feed(text)
        self._has_frames = bool(frames)
        return frames
