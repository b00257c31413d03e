"""The arguments of a tool call that is still being received."""

import json
import re
from typing import Final

import orjson

_MARKS: Final = re.compile(r'["\\{}\[\]]|[^\s"\\{}\[\]]+')

_HELD: Final = ("", "{", "{}")
_LONGEST_HELD = 64


def is_json(text: str) -> bool:
    """Whether ``text`` is valid JSON, also with numbers and escapes that orjson refuses to read."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class Nesting:
    """Tracks the braces of a JSON object received in pieces; reads each character once."""

    __slots__ = ("_depth", "_escaped", "_in_string", "_over", "is_whole")

    def __init__(self) -> None:
        self._in_string = self._escaped = self._over = False
        self._depth = 0
        self.is_whole = False
        """Whether an object has ended, followed at most by white space."""

    def feed(self, text: str, start: int = 0) -> int | None:
        """Read ``text`` from ``start``; return where it goes on after the object, if it does."""
        if self._over:
            return None
        for match in _MARKS.finditer(text, start):
            mark = match[0]
            if self.is_whole:
                return match.start()
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = mark == "\\"
                self._in_string = mark != '"'
            elif mark == '"':
                self._in_string = True
                self._over = not self._depth
            elif mark in "{[":
                self._over = not self._depth and mark == "["
                self._depth += 1
            elif mark in "}]":
                self._depth -= 1
                self.is_whole = self._depth == 0
                self._over = self._depth < 0
            elif not self._depth:
                self._over = True
            if self._over:
                return None
        return None

    def spoil(self) -> None:
        """Note that text follows the object, so that the whole is not one."""
        self.is_whole, self._over = False, True


class Arguments:
    """The arguments of one call, received in pieces.

    Some servers send two objects as one text: ``{"a":1}{"a":2}``. The second is in ``rest`` and not
    in ``text``. An empty object before another one is a placeholder and is dropped, so it is held
    back until something follows it or the call ends.
    """

    __slots__ = ("_held", "_is_held", "_is_valid", "_nesting", "_texts", "rest")

    def __init__(self) -> None:
        self.rest = ""
        self._held = ""
        self._is_held = True
        self._texts: list[str] = []
        self._nesting = Nesting()
        self._is_valid: bool | None = None

    @property
    def text(self) -> str:
        """The text returned so far."""
        return "".join(self._texts)

    def feed(self, piece: str) -> str:
        """Return the text to emit for ``piece``."""
        if self.rest:
            self.rest += piece
            return ""
        start = 0
        at = self._nesting.feed(piece)
        while at is not None:
            if piece[at] != "{":
                self._nesting.spoil()
                break
            if not self._is_held or not self._is_placeholder(piece, start, at):
                piece, self.rest = piece[:at], piece[at:]
                break
            self._held, start = "", at
            self._nesting = Nesting()
            at = self._nesting.feed(piece, start)
        piece = piece[start:]
        if self._is_held:
            self._held += piece
            if len(self._held) < _LONGEST_HELD and "".join(self._held.split()) in _HELD:
                return ""
            piece = self.release()
        elif piece:
            self._texts.append(piece)
        return piece

    def _is_placeholder(self, piece: str, start: int, end: int) -> bool:
        """Whether the object that ends before ``end`` is empty."""
        if len(self._held) + end - start > _LONGEST_HELD:
            return False
        return "".join((self._held + piece[start:end]).split()) == "{}"

    def release(self) -> str:
        """Return the text held back, because the call ends."""
        held, self._held, self._is_held = self._held, "", False
        if held:
            self._texts.append(held)
        return held

    def is_whole(self) -> bool:
        """Whether the arguments are complete: they are a whole JSON object."""
        if not self._nesting.is_whole:
            return False
        if self._is_valid is None:
            # Parsed once: a complete object does not grow.
            self._is_valid = is_json(self.text + self._held)
        return self._is_valid
