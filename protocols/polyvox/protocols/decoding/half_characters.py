"""Joins halves of characters that a provider sends in two events.

Servers that cut text by UTF-16 units send an emoji as ``"\\ud83d"`` in one event and ``"\\ude42"``
in the next. Neither is valid JSON for a strict reader. The halves are read as characters of a
private range, joined where they meet, and a half that stays alone becomes U+FFFD.
"""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from polyvox.protocols.provider_side import Awaited, Decoder
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta, PartEnded, PartStarted
from polyvox.workflows.reply import Usage

_FIRST = 0x10F000
"""Of the 2,048 private characters that stand for U+D800 to U+DFFF while text is incomplete."""

_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|u(?P<half>[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_RAW = re.compile("[\ud800-\udfff]")
_HIGH = "[\U0010f000-\U0010f3ff]"
_LOW = "[\U0010f400-\U0010f7ff]"
_PAIR_OR_HALF = re.compile(f"({_HIGH})({_LOW})|[\U0010f000-\U0010f7ff]")
_ENDS_WITH_HIGH = re.compile(f"{_HIGH}\\Z")


def repaired(data: bytes, *, mark: bool = False) -> bytes | None:
    """Return JSON text without halves of characters, or None if ``data`` has none.

    A half becomes U+FFFD, or with ``mark`` the private character that stands for it. Bytes that are
    not UTF-8 become U+FFFD.
    """
    found = False

    def stand_in(match: re.Match[bytes]) -> bytes:
        nonlocal found
        if match["half"] is None:
            return match[0]
        found = True
        if not mark:
            return b"\\ufffd"
        return chr(_FIRST + int(match["half"], 16) - 0xD800).encode()

    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    # Some servers write the halves as bytes of their own (CESU-8); as escapes they are read alike.
    escaped = _RAW.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()
    whole = _ESCAPES.sub(stand_in, escaped)
    return whole if found or escaped != data else None


class WholeCharacters:
    """A Decoder whose events hold whole characters only."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._joins = False
        self._half = ""

    @property
    def awaits(self) -> Awaited:
        return self._decoder.awaits

    @property
    def usage(self) -> Usage:
        return self._decoder.usage

    def feed(self, name: str | None, data: bytes) -> list[Event]:
        try:
            events = self._decoder.feed(name, data)
        except ModelError as error:
            # A frame that cannot be read has not changed the decoder.
            marked = repaired(data, mark=True) if error.kind == "bad_stream" else None
            if marked is None:
                raise
            self._joins = True
            events = self._decoder.feed(name, marked)
        return self._joined(events) if self._joins else events

    def finish(self) -> list[Event]:
        events = self._decoder.finish()
        return self._joined(events) if self._joins else events

    def _joined(self, events: list[Event]) -> list[Event]:
        return [whole for event in events for whole in self._join(event)]

    def _join(self, event: Event) -> Iterator[Event]:
        match event:
            case PartStarted():
                self._half = ""
                yield _whole(event)
            case PartDelta(text, wire):
                text, self._half = self._half + text, ""
                if found := _ENDS_WITH_HIGH.search(text):
                    self._half = found[0]
                    text = text[:-1]
                if text or wire is not None:
                    yield PartDelta(_whole(text), _whole(wire))
            case PartEnded():
                if self._half:
                    yield PartDelta(_whole(self._half))
                    self._half = ""
                yield _whole(event)
            case _:
                yield _whole(event)


def _whole(value: Any) -> Any:
    """Return ``value`` with every pair joined and every half replaced."""
    match value:
        case str():
            return _PAIR_OR_HALF.sub(_character, value)
        case dict():
            return {_whole(name): _whole(inner) for name, inner in value.items()}
        case list() | tuple():
            return type(value)(map(_whole, value))
        case _ if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: _whole(getattr(value, f.name)) for f in fields(value)})
        case _:
            return value


def _character(match: re.Match[str]) -> str:
    if match[1] is None:
        return "\N{REPLACEMENT CHARACTER}"
    high, low = ord(match[1]) - _FIRST, ord(match[2]) - _FIRST - 0x400
    return chr(0x10000 + (high << 10) + low)
