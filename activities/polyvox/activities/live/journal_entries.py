"""The entries of a run's journal: batches of events as compact JSON.

``{"call", "attempt", "sequence", "events"}``, where ``sequence`` counts from 0 in each attempt.
Each event is a list with its kind first; consecutive deltas are one. A part that ends as its deltas
say is not repeated. Optional members: ``late`` (the entries begin in the middle of the answer),
``stopped`` (why nothing follows), ``last`` (the attempt has ended).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from polyvox.activities.live.channel import Batch
from polyvox.activities.live.event_json import event_as_json, event_of
from polyvox.workflows.conversation import Json, Part, Reasoning, Refusal, Text, ToolCall
from polyvox.workflows.events import (
    Event,
    PartDelta,
    PartEnded,
    PartStarted,
    opened,
    written,
)

Entry = dict[str, Any]

TOPIC = "events"
"""The topic of the entries in the run's Workflow Stream."""

_EVENT_BYTES = 24


class EntryWriter:
    """Collects the events of one attempt and makes entries of them."""

    def __init__(self, call: str, attempt: int, *, late: bool = False) -> None:
        self.call = call
        self.attempt = attempt
        self.sequence = 0
        self.waiting_bytes = 0
        """The approximate size of the events that are not in an entry yet."""
        self._late = late
        self._events: list[Json] = []
        self._deltas: list[str] = []
        self._part: Part | None = None
        self._text: list[str] = []

    def add(self, events: Iterable[Event]) -> None:
        """Add events to the next entry."""
        for event in events:
            if isinstance(event, PartDelta) and event.wire is None:
                self._deltas.append(event.text)
                self._text.append(event.text)
                self.waiting_bytes += len(event.text)
            else:
                self._end_delta()
                self._events.append(self._listed(event))
                self.waiting_bytes += _EVENT_BYTES

    def take(self, **marks: Json) -> Entry:
        """Return the next entry, which may be empty of events, with the given members."""
        self._end_delta()
        entry: Entry = {"call": self.call, "attempt": self.attempt, "sequence": self.sequence}
        if self._late and self.sequence == 0:
            entry["late"] = True
        entry["events"], self._events = self._events, []
        self.waiting_bytes = 0
        self.sequence += 1
        return entry | marks

    def _end_delta(self) -> None:
        if self._deltas:
            self._events.append(["text", "".join(self._deltas)])
            self._deltas = []

    def _listed(self, event: Event) -> list[Json]:
        match event:
            case PartStarted(part):
                self._part, self._text = part, []
            case PartDelta(text):
                self._text.append(text)
                self.waiting_bytes += len(text)
            case PartEnded(part):
                begun, self._part = self._part, None
                if begun is not None and _filled(begun, "".join(self._text)) == part:
                    return ["end"]
                self.waiting_bytes += len(written(part))
            case _:
                pass
        return event_as_json(event)


@dataclass(slots=True)
class _Open:
    """The open part of an attempt and its text so far; ``part`` is None if it is not known."""

    part: Part | None = None
    text: str = ""


class EntryReader:
    """Reads the entries of one run, in their order."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], _Open] = {}

    def read(self, entry: Entry) -> Batch:
        """Return the batch that ``entry`` holds."""
        call, attempt = entry["call"], entry["attempt"]
        state = self._open.setdefault((call, attempt), _Open())
        return Batch(call, attempt, [_event(listed, state) for listed in entry["events"]])


def _event(listed: list[Any], state: _Open) -> Event:
    match listed:
        case ["text", text]:
            event: Event = PartDelta(text)
        case ["end"]:
            event = PartEnded(_filled(state.part or Text(""), state.text))
        case _:
            event = event_of(listed)
    match event:
        case PartStarted(part):
            state.part, state.text = part, ""
        case PartDelta(text):
            state.text += text
        case PartEnded():
            state.part = None
        case _:
            pass
    return event


def _filled(part: Part, text: str) -> Part:
    """Return the part that began as ``part`` with ``text`` appended to it."""
    match part:
        case Text() | Refusal() | Reasoning():
            return replace(part, text=part.text + text)
        case ToolCall():
            return replace(part, arguments=part.arguments + text)
        case _:
            return opened(part)
