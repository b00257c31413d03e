"""Ends an answer at a stop sequence where the provider's protocol has none.

What might be the beginning of a sequence is held back until the next piece shows what it is. After
a sequence nothing more is shown, but the stream is read to its end: only there stands what the
answer took.
"""

from polyvox.workflows.conversation import Text
from polyvox.workflows.events import Event, Finished, PartDelta, PartEnded, PartStarted


class Stopping:
    """Cuts the events of one call at the first of ``sequences`` in any of its texts."""

    def __init__(self, sequences: tuple[str, ...]) -> None:
        self._sequences = tuple(s for s in sequences if s)
        self._text: str | None = None
        self._shown = 0
        self._found: str | None = None

    def feed(self, events: list[Event]) -> list[Event]:
        """Return what of ``events`` belongs to the answer."""
        return [kept for event in events for kept in self._kept(event)]

    def _kept(self, event: Event) -> list[Event]:
        if isinstance(event, PartStarted | PartDelta | PartEnded):
            return [] if self._found is not None else self._kept_of_part(event)
        if isinstance(event, Finished) and self._found is not None:
            # What the provider says of its own ending is not true of this one.
            return [Finished("stop", self._found)]
        return [event]

    def _kept_of_part(self, event: PartStarted | PartDelta | PartEnded) -> list[Event]:
        match event:
            case PartStarted(Text()):
                self._text, self._shown = "", 0
                return [event]
            case PartDelta(text) if self._text is not None:
                self._text += text
                return self._shown_until(self._end(self._text), event)
            case PartEnded(Text() as part) if self._text is not None:
                self._text = part.text
                end = self._end(part.text, whole=True)
                rest = self._shown_until(end, None)
                self._text = None
                return [
                    *rest,
                    PartEnded(part if end == len(part.text) else part.edited(text=part.text[:end])),
                ]
            case _:
                return [event]

    def _end(self, text: str, *, whole: bool = False) -> int:
        """Return up to where ``text`` may be shown, and note a sequence that ends it."""
        found = [(at, s) for s in self._sequences if (at := text.find(s)) >= 0]
        if found:
            end, self._found = min(found)
            return end
        return len(text) if whole else len(text) - self._held(text)

    def _held(self, text: str) -> int:
        """Return how many characters at the end of ``text`` may begin a sequence."""
        lengths = (
            n
            for s in self._sequences
            for n in range(min(len(s) - 1, len(text)), 0, -1)
            if text.endswith(s[:n])
        )
        return max(lengths, default=0)

    def _shown_until(self, end: int, event: PartDelta | None) -> list[Event]:
        assert self._text is not None
        text, self._shown = self._text[self._shown : end], max(end, self._shown)
        events: list[Event] = []
        if event is not None and text == event.text:
            events.append(event)
        elif text:
            events.append(PartDelta(text))
        if self._found is not None and event is not None:
            events.append(PartEnded(Text(self._text[:end])))
        return events
