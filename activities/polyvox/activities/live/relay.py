"""The live lane: events from the activity that makes them to the exchange that shows them.

In one process it is a queue per run. It is lossy by right: an event published while nobody listens
is gone, because the Reply in the workflow's result is the truth and completes what was shown. Each
batch says which call and which attempt it comes from, so that the exchange, which alone knows what
the client has, can refuse a second attempt's beginning after a first one's words.

A run's end travels the same way (``close``), which spares the exchange a round trip to the engine.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from polyvox.activities.ledger.entries import EndStatus
from polyvox.protocols.coverage.losses import MORE_LOSSES, MOST_LOSSES
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta
from polyvox.workflows.reply import Reply, Usage

_MANY_CALLS = 12
_PAUSE_S = 0.010

MOST_WAITING_BYTES = 1024 * 1024
"""What may wait for a listener who is slower than the model; the Reply completes what is left."""

_LONGEST_LOSS = 256
"""Characters of a loss: a client may choose them, and they stay on the run."""

_EVENT_BYTES = 200
"""About what an event takes besides its text."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one read. ``call`` names the activity, ``attempt`` counts from 1."""

    call: str
    attempt: int
    events: list[Event]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended: exactly one of ``reply`` and ``error`` is set.

    ``usage`` and ``notes`` are those of the run; only the host of the run knows them.
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


class Channel:
    """One listener's end of a run's lane; without ``live`` only the run's end comes."""

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.losses: set[str] = set()
        self.outcome: RunOutcome | None = None
        self._batches: list[Batch] = []
        self._waiting_bytes = 0
        self._overflown = False
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    def push(self, batch: Batch) -> None:
        if self._overflown:
            return
        self._waiting_bytes += sum(
            _EVENT_BYTES + len(event.text) if isinstance(event, PartDelta) else _EVENT_BYTES
            for event in batch.events
        )
        if self._waiting_bytes > MOST_WAITING_BYTES:
            # From here on nothing more is shown before the end: a gap in it could not be filled.
            self._overflown = True
            return
        self._batches.append(batch)
        self._wake()

    def end(self, outcome: RunOutcome) -> None:
        self.outcome = self.outcome or outcome
        self._wake()

    async def next(self, timeout_s: float) -> list[Batch]:
        """Return what has come, waiting for it up to ``timeout_s``.

        An empty list means that the run has ended (``outcome`` is set) or nothing came in time.
        """
        if not self._batches and self.outcome is None:
            # By hand, because this is done for every token and asyncio.timeout costs more than all
            # the rest of it.
            self._waiter = self._loop.create_future()
            limit = self._loop.call_later(timeout_s, self._wake)
            try:
                await self._waiter
            finally:
                limit.cancel()
                self._waiter = None
        batches, self._batches = self._batches, []
        self._waiting_bytes = 0
        return batches

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Relay:
    """All lanes of this process, by run id. Used on the event loop only."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._calls: dict[str, set[asyncio.Task[Reply]]] = {}

    @property
    def pause_s(self) -> float:
        """How long a call waits after each read, so that tokens travel in small batches.

        Alone, a token is shown the moment it comes. With many streams every wake-up costs all of
        them; a pause that nobody can see then saves a third of the CPU.
        """
        return 0.0 if len(self._calls) < _MANY_CALLS else _PAUSE_S

    @contextmanager
    def subscribe(self, run_id: str, *, live: bool = True) -> Iterator[Channel]:
        """Listen to ``run_id`` while the context is open; subscribe before the run starts.

        Who only wants the whole answer is not ``live``: it gets no batches, so nothing was seen.
        """
        channel = self._channels[run_id] = Channel(live=live)
        try:
            yield channel
        finally:
            del self._channels[run_id]

    def publish(self, run_id: str, batch: Batch) -> None:
        """Hand a batch to whoever listens to ``run_id``."""
        channel = self._channels.get(run_id)
        if channel is not None and channel.live:
            channel.push(batch)

    def lose(self, run_id: str, losses: tuple[str, ...]) -> None:
        """Tell what a provider's protocol could not carry of the conversation."""
        channel = self._channels.get(run_id)
        if channel is None:
            return
        for loss in losses:
            if len(channel.losses) >= MOST_LOSSES:
                channel.losses.add(MORE_LOSSES)
                return
            channel.losses.add(loss[:_LONGEST_LOSS])

    def losses(self, run_id: str) -> tuple[str, ...]:
        """Return what was told by ``lose`` while somebody listened, sorted."""
        channel = self._channels.get(run_id)
        return tuple(sorted(channel.losses)) if channel is not None else ()

    def listening(self, run_id: str) -> bool:
        """Whether somebody reads along, and not only waits for the end."""
        channel = self._channels.get(run_id)
        return channel is not None and channel.live

    def close(self, run_id: str, outcome: RunOutcome) -> None:
        """Tell that the run has ended."""
        channel = self._channels.get(run_id)
        if channel is not None:
            channel.end(outcome)

    @contextmanager
    def calling(self, run_id: str, call: "asyncio.Task[Reply]") -> Iterator[None]:
        """Let ``hang_up`` reach ``call`` while the context is open."""
        calls = self._calls.setdefault(run_id, set())
        calls.add(call)
        try:
            yield
        finally:
            calls.discard(call)
            if not calls:
                self._calls.pop(run_id, None)

    def hang_up(self, run_id: str) -> None:
        """Cancel the calls of ``run_id`` now, not at their next heartbeat: the client has left."""
        for call in list(self._calls.get(run_id, ())):
            call.cancel()
