"""The text of one emitting call: what the journal has of it, and what its Reply adds."""

from collections.abc import Iterable, Iterator

from polyvox.activities.live.journal_entries import Entry, EntryReader
from polyvox.worker.watching.run_events import (
    Happening,
    JournalStopped,
    TextPart,
    TextVoid,
    TextWritten,
)
from polyvox.workflows.conversation import Part, Reasoning, Refusal, Text, ToolCall
from polyvox.workflows.events import PartDelta, PartStarted, written


class EmittedText:
    """Follows the attempts of one call. Entries of an attempt older than the newest are void."""

    def __init__(self, call: str) -> None:
        self._call = call
        self._reader = EntryReader()
        self._attempt = 1
        self._part: TextPart | None = None
        self._tool: str | None = None
        self._late = False
        self._sent: list[str] = []

    def entry(self, entry: Entry) -> Iterator[Happening]:
        """Yield what an entry of the journal adds."""
        batch = self._reader.read(entry)
        if batch.attempt < self._attempt:
            return
        if batch.attempt > self._attempt:
            yield from self._begin_attempt(batch.attempt)
        self._late |= bool(entry.get("late"))
        texts: list[str] = []
        for event in batch.events:
            match event:
                case PartStarted(part):
                    yield from self._written(texts)
                    self._part, self._tool = _kind(part)
                case PartDelta(text):
                    texts.append(text)
        yield from self._written(texts)
        if "stopped" in entry:
            yield JournalStopped(self._call, entry["stopped"])

    def completed(self, parts: Iterable[Part], attempt: int) -> Iterator[Happening]:
        """Yield what is missing when the call has completed with the visible ``parts``."""
        if attempt > self._attempt:
            yield from self._begin_attempt(attempt)
        shown = [part for part in parts if written(part)]
        whole, sent = "".join(map(written, shown)), "".join(self._sent)
        skip = len(sent)
        if self._late or not whole.startswith(sent):
            skip = 0
            yield TextVoid(self._call, attempt, "the text was incomplete")
        for part in shown:
            text = written(part)
            rest, skip = text[skip:], max(0, skip - len(text))
            if rest:
                kind, tool = _kind(part)
                yield TextWritten(self._call, attempt, rest, kind, tool)

    def _begin_attempt(self, attempt: int) -> Iterator[Happening]:
        self._attempt, self._late, self._sent = attempt, False, []
        self._part = self._tool = None
        yield TextVoid(self._call, attempt, "another attempt")

    def _written(self, texts: list[str]) -> Iterator[Happening]:
        if text := "".join(texts):
            self._sent.append(text)
            yield TextWritten(self._call, self._attempt, text, self._part, self._tool)
        texts.clear()


def _kind(part: Part) -> tuple[TextPart | None, str | None]:
    match part:
        case Text():
            return "text", None
        case Reasoning():
            return "reasoning", None
        case Refusal():
            return "refusal", None
        case ToolCall(name=name):
            return "tool_call", name
        case _:
            return None, None
