"""A tool call of a Chat Completions stream while it is being written."""

from typing import Final, Literal
from uuid import uuid4

import orjson

from polyvox.workflows.conversation import Json, ToolCall, Wire
from polyvox.workflows.events import Event, PartDelta

_GROWN: Final = {"function": "arguments", "custom": "input"}
_OWN: Final = frozenset({"index", "id", "type", "function", "custom"})
# Said again in every piece by some servers, never continued.
_FIXED: Final = frozenset({"index", "id", "type", "format", "name", "role"})


def accumulate(whole: dict[str, Json], piece: dict[str, Json]) -> dict[str, Json]:
    """Add ``piece`` to ``whole`` as the members of a delta add up, and return ``whole``.

    Strings go on, objects merge, list entries with the same ``index`` merge, others are appended.
    """
    for name, value in piece.items():
        old = whole.get(name)
        if value is None and old is not None:
            continue
        if isinstance(old, str) and isinstance(value, str) and name not in _FIXED:
            whole[name] = old + value
        elif isinstance(value, dict):
            whole[name] = accumulate(old if isinstance(old, dict) else {}, value)
        elif isinstance(value, list):
            whole[name] = _extend(old if isinstance(old, list) else [], value)
        else:
            whole[name] = value
    return whole


def _extend(whole: list[Json], pieces: list[Json]) -> list[Json]:
    for piece in pieces:
        if not isinstance(piece, dict):
            whole.append(piece)
            continue
        index = piece.get("index")
        same = (e for e in whole if index is not None and e.get("index") == index)
        entry = next(same, None)
        if entry is None:
            whole.append(accumulate({}, piece))
        else:
            accumulate(entry, piece)
    return whole


def _string(value: Json) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{value!r} names no tool call")


class Call:
    """What is known of one call."""

    __slots__ = ("_further", "_texts", "ended", "id", "kind", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.kind: Literal["function", "custom"] = "function"
        self.ended = False
        self._texts: list[str] = []
        self._further: dict[str, Json] = {}

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def take(self, entry: dict[str, Json]) -> tuple[str, dict[str, Json]]:
        """Take one piece of the call; return its text and its members of unknown meaning."""
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
            accumulate(self._further, further)
        return text, further

    def is_whole(self) -> bool:
        """Whether the arguments cannot grow any more: they are a complete JSON object."""
        text = self.text
        if self.kind == "custom" or not text.rstrip().endswith("}"):
            return False
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            return False
        return True

    def opened(self) -> ToolCall:
        """Return the call as it begins."""
        if not self.id:
            # Clients pair call and result by it.
            self.id = f"call_{uuid4().hex}"
        return ToolCall(self.id, self.name, "", self.kind, wire=self._wire("", {}))

    def end(self, message: dict[str, Json], events: list[Event]) -> ToolCall:
        """Return the whole call; ``message`` are members of the message that came with it."""
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
        call = {"id": self.id, "type": self.kind, self.kind: said, **self._further}
        return Wire("chat", {"tool_calls": [call], **message})
