"""What one listener of a run gets: batches of events and the run's end.

A channel is a bounded queue: a slow listener gets the rest from the Reply.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from polyvox.activities.ledger.entries import EndStatus
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta
from polyvox.workflows.reply import Reply, Usage

MOST_WAITING_BYTES = 1024 * 1024
"""The most that is queued for a slow listener; it gets the rest from the Reply."""

_MOST_WAITING_IN_ALL = 16 * 1024 * 1024
_LEAST_WAITING_BYTES = 64 * 1024
"""What is queued for each listener while more than that waits for all of them."""

EVENT_BYTES = 200
"""The approximate size of an event without its text."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one read. ``call`` is the activity's id, ``attempt`` counts from 1."""

    call: str
    attempt: int
    events: list[Event]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The result of a run: exactly one of ``reply`` and ``error`` is set.

    ``usage`` and ``notes`` are those of the run, set only by the run's host.
    """

    reply: Reply | None = None
    error: ModelError | None = None
    usage: Usage = Usage()
    notes: tuple[Json, ...] = ()

    @property
    def status(self) -> EndStatus:
        if self.error is None:
            return "completed"
        return "cancelled" if self.error.kind == "cancelled" else "failed"

    def result(self) -> Reply:
        """Return the reply. Raises ModelError if the run failed."""
        if self.reply is None:
            raise self.error or ModelError("internal", "The run has no reply.")
        return self.reply


@dataclass(slots=True)
class Waiting:
    """The bytes of events that wait for all listeners."""

    size: int = 0


class Channel:
    """The queue of a run's listener; without ``live`` it gets only the run's end.

    ``ending`` is set if the run has ended and only the engine has the outcome. A
    ``kept`` one remembers what it passed on, for listeners that come later. ``in_all`` counts what
    waits in all channels.
    """

    def __init__(self, *, live: bool, kept: bool = False, in_all: Waiting | None = None) -> None:
        self._in_all = in_all or Waiting()
        self.live = live
        self.ending = asyncio.Event()
        self.others: list[Channel] = []
        """Later listeners to the same run, which get what this one gets."""
        self._kept: list[Batch] | None = [] if kept and live else None
        self._kept_bytes = 0
        self.losses: set[str] = set()
        self.unfinished: set[str] = set()
        """The calls of which the listener got a part and that have not completed (yet)."""
        self.elsewhere: set[str] = set()
        """The calls in other processes, whose completion may arrive after the run's end."""
        self.outcome: RunOutcome | None = None
        self.postponed: RunOutcome | None = None
        """The end of the run without its Reply, instead of ``outcome``."""
        self.on_call: Callable[[], object] = lambda: None
        """Called when a call of the run begins in this process."""
        self._batches: list[Batch] = []
        self._waiting_bytes = 0
        self._overflown = False
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    def push(self, batch: Batch) -> None:
        for other in self.others:
            other.push(batch)
        if self._kept is not None:
            self._keep(batch)
        if self._overflown:
            return
        size = 0
        for event in batch.events:
            size += EVENT_BYTES
            if isinstance(event, PartDelta):
                size += len(event.text)
        many = self._in_all.size > _MOST_WAITING_IN_ALL
        if self._waiting_bytes + size > (_LEAST_WAITING_BYTES if many else MOST_WAITING_BYTES):
            self.overflow()
            return
        self._waiting_bytes += size
        self._in_all.size += size
        self._batches.append(batch)
        self._wake()

    def overflow(self) -> None:
        """Pass on nothing more before the end, because a gap could not be filled later."""
        self._overflown = True

    def _keep(self, batch: Batch) -> None:
        assert self._kept is not None
        self._kept.append(batch)
        self._kept_bytes += sum(
            EVENT_BYTES + (len(event.text) if isinstance(event, PartDelta) else 0)
            for event in batch.events
        )
        if self._kept_bytes > MOST_WAITING_BYTES:
            self._kept = None

    def hold_back(self) -> None:
        """Pass nothing on before the run's end: what came before is not known."""
        self.live = False
        self._overflown = True
        self._batches = []

    def keep_nothing(self) -> None:
        """Let later listeners get only the end: this one did not listen from the beginning."""
        self._kept = None

    def add(self, later: "Channel") -> None:
        """Let ``later`` get everything from the beginning on, or only the end if it is not kept."""
        if self._kept is None:
            later.hold_back()
        else:
            later._kept = []  # it may outlive this channel
            for batch in self._kept:
                later.push(batch)
        later.losses, later.unfinished = self.losses, self.unfinished
        self.others.append(later)

    def end(self, outcome: RunOutcome) -> None:
        """Pass on the end. A listener that is far behind gets a large Reply only when it needs it.

        It may need hours to read what waits for it; ``postponed`` is then set, and the Reply is in
        the engine.
        """
        if self.outcome is None and self.live and self._overflown and outcome.reply is not None:
            self.postponed = self.postponed or replace(outcome, reply=None)
        else:
            self.outcome = self.outcome or outcome
        self._wake()

    def end_all(self, outcome: RunOutcome) -> None:
        """Pass the end of the run to this listener and the later ones."""
        for channel in (self, *self.others):
            channel.end(outcome)

    async def next(self, timeout_s: float) -> list[Batch]:
        """Return the queued batches; wait for up to ``timeout_s`` if there are none.

        An empty list means that the run has ended (``outcome`` is set) or nothing arrived in time.
        """
        if not self._batches and self.outcome is None and self.postponed is None:
            # Not with asyncio.timeout, which costs more than the rest of this method; it is called
            # for every token.
            self._waiter = self._loop.create_future()
            limit = self._loop.call_later(timeout_s, self._wake)
            try:
                await self._waiter
            finally:
                limit.cancel()
                self._waiter = None
        batches, self._batches = self._batches, []
        self.discard()
        return batches

    def discard(self) -> None:
        """Stop counting what waited here."""
        self._in_all.size -= self._waiting_bytes
        self._waiting_bytes = 0

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
