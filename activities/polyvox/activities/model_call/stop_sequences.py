"""Ends an answer at a stop sequence if the provider's protocol has no stop sequences.

The first sequence to be complete ends the answer, as where a model stops while it writes. Text
that may be the beginning of a sequence is held back until the next piece decides. After a
sequence nothing more is emitted, but the stream is read to its end, where the usage is reported.
"""

from polyvox.workflows.conversation import Text
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, Finished, PartDelta, PartEnded, PartStarted

MOST_SEQUENCES = 64
MOST_CHARACTERS = 4096
"""The limit for all sequences together: each piece of an answer is compared with every one."""


class Stopping:
    """Cuts the events of one call at the first of ``sequences`` in any of its texts.

    Raises ModelError("invalid_request") if there are too many sequences.
    """

    def __init__(self, sequences: tuple[str, ...]) -> None:
        self._sequences = tuple(s for s in sequences if s)
        if len(self._sequences) > MOST_SEQUENCES or sum(map(len, sequences)) > MOST_CHARACTERS:
            raise ModelError(
                "invalid_request",
                f"At most {MOST_SEQUENCES} stop sequences with {MOST_CHARACTERS:,} characters in "
                "total are supported. Use fewer or shorter ones.",
                param="stop",
            )
        self._matchers: list[_Matcher] | None = None
        self._shown: list[str] = []
        self._held = ""
        self._found: str | None = None

    def feed(self, events: list[Event]) -> list[Event]:
        """Return the events that belong to the answer."""
        return [cut for event in events for cut in self._cut(event)]

    def _cut(self, event: Event) -> list[Event]:
        if isinstance(event, PartStarted | PartDelta | PartEnded):
            return [] if self._found is not None else self._cut_part(event)
        if isinstance(event, Finished) and self._found is not None:
            # The provider's finish reason does not apply to the shortened answer.
            return [Finished("stop", self._found)]
        return [event]

    def _cut_part(self, event: PartStarted | PartDelta | PartEnded) -> list[Event]:
        match event:
            case PartStarted(Text()):
                self._matchers = [_Matcher(s) for s in self._sequences]
                self._shown, self._held = [], ""
                return [event]
            case PartDelta() if self._matchers is not None:
                return self._cut_delta(event, self._matchers)
            case PartEnded(Text() as part) if self._matchers is not None:
                return self._cut_end(part)
            case _:
                return [event]

    def _cut_delta(self, event: PartDelta, matchers: list["_Matcher"]) -> list[Event]:
        held = self._held + event.text
        before = len(held) - len(event.text)
        found = [
            (before + at + len(m.sequence), before + at, m.sequence)
            for m in matchers
            if (at := m.feed(event.text)) is not None
        ]
        end = len(held) - max((m.matched for m in matchers), default=0)
        if found:
            _, end, self._found = min(found)
        text, self._held = held[:end], held[end:]
        events: list[Event] = []
        if text:
            self._shown.append(text)
        if text == event.text:
            events.append(event)
        elif text:
            events.append(PartDelta(text))
        if self._found is not None:
            events.append(PartEnded(Text("".join(self._shown))))
        return events

    def _cut_end(self, part: Text) -> list[Event]:
        found = [(at + len(s), at, s) for s in self._sequences if (at := part.text.find(s)) >= 0]
        end = len(part.text)
        if found:
            _, end, self._found = min(found)
        rest = part.text[sum(map(len, self._shown)) : end]
        self._matchers = None
        whole = part if end == len(part.text) else part.edited(text=part.text[:end])
        return [*([PartDelta(rest)] if rest else []), PartEnded(whole)]


class _Matcher:
    """Searches for one sequence in a text that arrives in pieces (Knuth, Morris and Pratt)."""

    def __init__(self, sequence: str) -> None:
        self.sequence = sequence
        self.matched = 0
        """The number of characters at the end of the text that may begin the sequence."""
        self._shorter = _borders(sequence)

    def feed(self, text: str) -> int | None:
        """Return where the sequence begins, relative to ``text``; None if it is not complete."""
        sequence = self.sequence
        if not self.matched and sequence[0] not in text:
            return None
        for at, character in enumerate(text):
            while self.matched and sequence[self.matched] != character:
                self.matched = self._shorter[self.matched - 1]
            self.matched += sequence[self.matched] == character
            if self.matched == len(sequence):
                return at + 1 - len(sequence)
        return None


def _borders(sequence: str) -> list[int]:
    """Return for each prefix the length of its longest proper prefix that is also a suffix."""
    borders = [0]
    for character in sequence[1:]:
        length = borders[-1]
        while length and sequence[length] != character:
            length = borders[length - 1]
        borders.append(length + (sequence[length] == character))
    return borders
