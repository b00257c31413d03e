"""Selects the events of a call that the client may see: all but calls of mounted tools."""

from typing import Final

from polyvox.workflows.conversation import ToolCall
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    UsageReported,
)

_OF_THE_CALL: Final = (UsageReported, Finished)


class Emission:
    """Selects the visible events of one call.

    Calls of ``hidden`` tools are never visible. With ``hold_calls`` a tool call is emitted only at
    the end of the answer, and only if no call is hidden: a hidden call means that the answer is not
    the final one. Parts after such a call wait for it, so that their order is that of the Reply.
    UsageReported and Finished are left out, because one call does not determine them for the run.
    The start of a part is emitted with its first text, so that a provider that breaks off before it
    can be called again.
    """

    def __init__(self, hidden: tuple[str, ...], *, hold_calls: bool) -> None:
        self._hidden = frozenset(hidden)
        self._hold = hold_calls and bool(hidden)
        self._held: list[Event] = []
        self._holding = False
        self._in_hidden = False
        self._saw_hidden = False
        self._begun: PartStarted | None = None

    def feed(self, events: list[Event]) -> list[Event]:
        """Return the events to emit now."""
        shown = self._allowed(events)
        if self._begun is None:
            for event in shown:
                if isinstance(event, PartStarted):
                    break
            else:
                # The hot path: nothing but deltas.
                return shown
        worded: list[Event] = []
        for event in shown:
            if self._begun is not None:
                worded.append(self._begun)
            self._begun = event if isinstance(event, PartStarted) else None
            if self._begun is None:
                worded.append(event)
        return worded

    def _allowed(self, events: list[Event]) -> list[Event]:
        if not self._hidden:
            return [event for event in events if not isinstance(event, _OF_THE_CALL)]
        shown: list[Event] = []
        for event in events:
            match event:
                case PartStarted(ToolCall(name=name)):
                    self._in_hidden = name in self._hidden
                    self._holding |= self._hold and not self._in_hidden
                    self._saw_hidden |= self._in_hidden
                case PartStarted():
                    self._in_hidden = False
                case Finished():
                    shown += _without_calls(self._held) if self._saw_hidden else self._held
            if isinstance(event, _OF_THE_CALL):
                continue
            inside = isinstance(event, PartStarted | PartDelta | PartEnded)
            if inside and self._in_hidden:
                continue
            (self._held if inside and self._holding else shown).append(event)
        return shown


def _without_calls(events: list[Event]) -> list[Event]:
    kept: list[Event] = []
    in_call = False
    for event in events:
        if isinstance(event, PartStarted):
            in_call = isinstance(event.part, ToolCall)
        if not in_call:
            kept.append(event)
    return kept
