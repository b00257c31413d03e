"""A tool call of a Chat Completions stream that is still being received."""

import re
from typing import Final, Literal
from uuid import uuid4

import orjson

from polyvox.protocols.chat.provider.growth import Grown
from polyvox.workflows.conversation import Json, ToolCall, Wire
from polyvox.workflows.events import Event, PartDelta

_GROWN: Final = {"function": "arguments", "custom": "input"}
_OWN: Final = frozenset({"index", "id", "type", "function", "custom"})


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _string(value: Json) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{value!r} names no tool call")


_MARKS = re.compile(r'["\\{}\[\]]|[^\s"\\{}\[\]]+')


class Nesting:
    """Tracks the braces of a JSON object received in pieces; reads each character once."""

    __slots__ = ("_depth", "_escaped", "_in_string", "_over", "is_whole")

    def __init__(self) -> None:
        self._in_string = self._escaped = self._over = False
        self._depth = 0
        self.is_whole = False
        """Whether an object has ended, followed at most by white space."""

    def feed(self, text: str) -> None:
        for match in _MARKS.finditer(text):
            mark = match[0]
            if self.is_whole:
                self.is_whole, self._over = False, True
            if self._over:
                return
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = mark == "\\"
                self._in_string = mark != '"'
            elif mark == '"':
                self._in_string = True
            elif mark in "{[":
                self._over = not self._depth and mark == "["
                self._depth += 1
            elif mark in "}]":
                self._depth -= 1
                self.is_whole = self._depth == 0
                self._over = self._depth < 0
            elif not self._depth:
                self._over = True


class Call:
    """One call as far as it was received."""

    __slots__ = (
        "_further",
        "_looked_at",
        "_nesting",
        "_texts",
        "_valid",
        "ended",
        "id",
        "kind",
        "name",
    )

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.kind: Literal["function", "custom"] = "function"
        self.ended = False
        self._texts: list[str] = []
        self._further = Grown()
        self._nesting = Nesting()
        self._looked_at = 0
        self._valid: bool | None = None

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def take(self, entry: dict[str, Json]) -> tuple[str, dict[str, Json]]:
        """Add one piece of the call; return its text and its unknown members."""
        if entry.get("id") and not self.id:
            self.id = _string(entry["id"])
        if entry.get("custom") is not None:
            self.kind = "custom"
        said = entry.get(self.kind) or {}
        if said.get("name") and not self.name:
            self.name = _string(said["name"])
        text = said.get(_GROWN[self.kind]) or ""
        if not isinstance(text, str):
            text = orjson.dumps(text).decode()
        if text:
            self._texts.append(text)
        further = {}
        if len(entry) > 2:
            further = {n: v for n, v in entry.items() if n not in _OWN and v is not None}
            self._further.add(further)
        return text, further

    def is_whole(self) -> bool:
        """Whether the arguments are complete: they are a whole JSON object."""
        new, self._looked_at = self._texts[self._looked_at :], len(self._texts)
        for text in new:
            self._nesting.feed(text)
        if self.kind == "custom" or not self._nesting.is_whole:
            return False
        if self._valid is None:
            # Parsed once: a complete object does not grow.
            self._valid = _is_json(self.text)
        return self._valid

    def opened(self) -> ToolCall:
        """Return the beginning of the call."""
        if not self.id:
            # Clients pair call and result by it.
            self.id = f"call_{uuid4().hex}"
        return ToolCall(self.id, self.name, "", self.kind, wire=self._wire("", {}))

    def end(self, message: dict[str, Json], events: list[Event]) -> ToolCall:
        """Return the whole call; ``message`` are members of its message."""
        self.ended = True
        text = self.text
        if not text and self.kind == "function":
            text = "{}"
            events.append(PartDelta(text))
        return ToolCall(self.id, self.name, text, self.kind, wire=self._wire(text, message))

    def _wire(self, text: str, message: dict[str, Json]) -> Wire | None:
        if not self._further and not message:
            return None
        said = {"name": self.name, _GROWN[self.kind]: text}
        call = {"id": self.id, "type": self.kind, self.kind: said, **self._further.whole()}
        return Wire("chat", {"tool_calls": [call], **message})
