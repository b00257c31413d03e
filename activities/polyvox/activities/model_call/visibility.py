"""What of a call's events the client may see: everything but calls of mounted tools."""

from polyvox.workflows.conversation import ToolCall
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    UsageReported,
)


class Emission:
    """Picks from one call's events those to show.

    Calls of ``hidden`` tools are never shown. With ``hold_calls`` no call is shown before the
    answer's end, and then only if none of its calls is hidden: a hidden one means that the answer
    is not yet the client's. How the whole run ends is not said by one call, so UsageReported and
    Finished are left out. A part's beginning is shown with its first words: a provider that breaks
    off before them may be asked again.
    """

    def __init__(self, hidden: tuple[str, ...], *, hold_calls: bool) -> None:
        self._hidden = frozenset(hidden)
        self._hold = hold_calls and bool(hidden)
        self._held: list[Event] = []
        self._in_held = False
        self._in_hidden = False
        self._saw_hidden = False
        self._begun: PartStarted | None = None

    def feed(self, events: list[Event]) -> list[Event]:
        """Return the events to show now."""
        shown = self._allowed(events)
        if self._begun is None and not any(isinstance(e, PartStarted) for e in shown):
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
            return [e for e in events if not isinstance(e, UsageReported | Finished)]
        shown: list[Event] = []
        for event in events:
            match event:
                case PartStarted(ToolCall(name=name)):
                    self._in_hidden = name in self._hidden
                    self._in_held = self._hold and not self._in_hidden
                    self._saw_hidden |= self._in_hidden
                case PartStarted():
                    self._in_hidden = self._in_held = False
                case Finished() if not self._saw_hidden:
                    shown += self._held
            if isinstance(event, UsageReported | Finished):
                continue
            inside = isinstance(event, PartStarted | PartDelta | PartEnded)
            if inside and self._in_hidden:
                continue
            (self._held if inside and self._in_held else shown).append(event)
        return shown
