"""The tool calls of a Chat Completions stream that are still being received."""

from collections import deque
from itertools import count
from typing import Final, Literal
from uuid import uuid4

from polyvox.protocols.chat.provider.growth import Grown
from polyvox.protocols.decoding.arguments import Arguments
from polyvox.protocols.decoding.exact_objects import text_of
from polyvox.workflows.conversation import Json, ToolCall, Wire
from polyvox.workflows.events import Event, PartDelta

_GROWN: Final = {"function": "arguments", "custom": "input"}
_MOST_SPLITS = 64
"""Objects behind the first one in one piece; each costs a copy of what follows it."""

_OWN: Final = frozenset({"index", "id", "type", "function", "custom"})


def _string(value: Json) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{value!r} names no tool call")


class Call:
    """One call as far as it was received. ``index`` is the number that the server gives it."""

    __slots__ = ("_arguments", "_further", "_texts", "ended", "id", "index", "kind", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.kind: Literal["function", "custom"] = "function"
        self.ended = False
        self._arguments = Arguments()
        self._texts: list[str] = []
        self._further = Grown()

    @property
    def text(self) -> str:
        """The text returned by ``take`` so far."""
        return self._arguments.text if self.kind == "function" else "".join(self._texts)

    def take(self, entry: dict[str, Json]) -> tuple[str, dict[str, Json]]:
        """Add one piece of the call; return the text to emit and its unknown members."""
        if entry.get("id") and not self.id:
            self.id = _string(entry["id"])
        if entry.get("custom") is not None:
            self.kind = "custom"
        definition = entry.get(self.kind) or {}
        if definition.get("name") and not self.name:
            self.name = _string(definition["name"])
        text = definition.get(_GROWN[self.kind]) or ""
        if not isinstance(text, str):
            text = text_of(text)
        if self.ended and text.strip():
            raise ValueError(f"tool call {self.id!r} goes on after its arguments were whole")
        if self.kind == "function":
            text = self._arguments.feed(text)
        elif text:
            self._texts.append(text)
        further = {}
        if len(entry) > 2:
            further = {n: v for n, v in entry.items() if n not in _OWN and v is not None}
            self._further.add(further)
        return text, further

    def split(self) -> "Call | None":
        """Return the call whose arguments follow this one's in the same text, if any."""
        rest, self._arguments.rest = self._arguments.rest, ""
        if not rest:
            return None
        call = Call(self.index)
        call.id, call.name = _new_id(), self.name
        call._arguments.feed(rest)
        return call

    def is_whole(self) -> bool:
        """Whether the arguments are complete: they are a whole JSON object."""
        return self.kind == "function" and self._arguments.is_whole()

    def opened(self) -> ToolCall:
        """Return the beginning of the call."""
        if not self.id:
            # Clients pair call and result by it.
            self.id = _new_id()
        return ToolCall(self.id, self.name, "", self.kind, wire=self._wire("", {}))

    def end(self, message: dict[str, Json], events: list[Event]) -> ToolCall:
        """Return the whole call; ``message`` are members of its message."""
        self.ended = True
        if self.kind == "function":
            late = self._arguments.release()
            if not self.text.strip():
                late += self._arguments.feed("{}")
            if late:
                events.append(PartDelta(late))
        text = self.text
        return ToolCall(self.id, self.name, text, self.kind, wire=self._wire(text, message))

    def _wire(self, text: str, message: dict[str, Json]) -> Wire | None:
        if not self._further and not message:
            return None
        definition = {"name": self.name, _GROWN[self.kind]: text}
        call = {"id": self.id, "type": self.kind, self.kind: definition, **self._further.whole()}
        return Wire("chat", {"tool_calls": [call], **message})


class Calls:
    """The calls of one answer, found by the index or the id of a piece.

    Servers number calls in their own ways: every call 0, no numbers, or neither numbers nor ids.
    """

    def __init__(self) -> None:
        self._by_index: dict[int, Call] = {}
        self._by_id: dict[str, Call] = {}
        self._highest: int | None = None
        self.waiting: deque[Call] = deque()
        """Calls that have begun but are not emitted yet."""

    def take(self, entry: dict[str, Json]) -> tuple[Call, str, dict[str, Json]]:
        """Add one piece; return its call, the text to emit and its unknown members."""
        call = self._call_of(entry)
        text, further = call.take(entry)
        if call.id:
            self._by_id.setdefault(call.id, call)
        last, said_id = call, entry.get("id")
        for number in count():
            next_call = last.split()
            if next_call is None:
                break
            if number == _MOST_SPLITS:
                raise ValueError(f"tool call {call.id!r} has more than {number} objects")
            # What follows with the id of the first object continues the last one.
            self._add(next_call)
            if said_id and said_id not in self._by_id:
                next_call.id = _string(said_id)
            self._by_id[next_call.id] = next_call
            if call.id:
                self._by_id[call.id] = next_call
            last = next_call
        return call, text, further

    def _call_of(self, entry: dict[str, Json]) -> Call:
        index, call_id = entry.get("index"), entry.get("id")
        name = (entry.get("function") or entry.get("custom") or {}).get("name")
        call = self._by_id.get(call_id) if call_id else None
        if call is not None and index in (None, call.index) and name in (None, "", call.name):
            return call
        if index is None:
            newest = None if self._highest is None else self._by_index[self._highest]
            # A new id or a new name begins a call; anything else continues the newest.
            is_new = (
                newest is None
                or bool(call_id and newest.id not in ("", call_id))
                or bool(name and newest.name not in ("", name))
                or call is not None
            )
            call = Call(len(self._by_index)) if is_new else newest
        else:
            call = self._by_index.get(index)
            if call is not None and call_id and call.id not in ("", call_id) and name:
                # Some servers number every call 0; a new id with a name is a new call.
                call = None
            call = call or Call(index)
        assert call is not None
        if self._by_index.get(call.index) is not call:
            self._add(call)
        return call

    def _add(self, call: Call) -> None:
        self._by_index[call.index] = call
        self._highest = call.index if self._highest is None else max(call.index, self._highest)
        self.waiting.append(call)


def _new_id() -> str:
    return f"call_{uuid4().hex}"
