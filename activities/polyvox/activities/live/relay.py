"""The relay: passes events from the activities that produce them to the exchange that sends them.

It is a queue per run in one process. It may lose events: without a listener an event is dropped,
because the Reply in the workflow's result is complete. Each batch contains its call and attempt, so
that the exchange, which knows what the client has received, can reject the start of a second
attempt after text of the first.

The end of a run is passed on in the same way (``close``), which saves the exchange a round trip to
the engine.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from polyvox.activities.ledger.entries import EndStatus
from polyvox.protocols.coverage.losses import MORE_LOSSES, MOST_LOSSES
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta
from polyvox.workflows.reply import Reply, Usage

_MANY_CALLS = 12
_PAUSE_S = 0.010

MOST_WAITING_BYTES = 1024 * 1024
"""The most that is queued for a slow listener; it gets the rest from the Reply."""

_MOST_WAITING_IN_ALL = 16 * 1024 * 1024
_LEAST_WAITING_BYTES = 64 * 1024
"""What is queued for each listener while more than that waits for all of them."""

_MOST_LEFT = 10_000
"""The newest runs without a client that are known; a call of an older one ends by itself."""

_CANCELLED_WITHIN_S = 15.0
"""The longest that a call waits for its run's cancellation; it then reports its own end."""

_LONGEST_LOSS = 256
"""The most characters of a loss: clients may choose them, and they are stored with the run."""

_EVENT_BYTES = 200
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

    ``in_all`` counts what waits in all channels.
    """

    def __init__(self, *, live: bool, in_all: "Waiting | None" = None) -> None:
        self._in_all = in_all or Waiting()
        self.live = live
        self.losses: set[str] = set()
        self.unfinished: set[str] = set()
        """The calls of which the listener got a part and that have not completed (yet)."""
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
        if self._overflown:
            return
        size = 0
        for event in batch.events:
            size += _EVENT_BYTES
            if isinstance(event, PartDelta):
                size += len(event.text)
        many = self._in_all.size > _MOST_WAITING_IN_ALL
        if self._waiting_bytes + size > (_LEAST_WAITING_BYTES if many else MOST_WAITING_BYTES):
            # Nothing more is passed on before the end, because a gap could not be filled later.
            self._overflown = True
            return
        self._waiting_bytes += size
        self._in_all.size += size
        self._batches.append(batch)
        self._wake()

    def end(self, outcome: RunOutcome) -> None:
        """Pass on the end. A listener that is far behind gets a large Reply only when it needs it.

        It may need hours to read what waits for it; ``postponed`` is then set, and the Reply is in
        the engine.
        """
        if self.outcome is None and self._overflown and outcome.reply is not None:
            self.postponed = self.postponed or replace(outcome, reply=None)
        else:
            self.outcome = self.outcome or outcome
        self._wake()

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


class Relay:
    """The channels of this process by run id. Used on the event loop only."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._calls: dict[str, set[asyncio.Task[Reply]]] = {}
        self._waiting = Waiting()
        self._left: OrderedDict[str, asyncio.Event] = OrderedDict()

    @property
    def pause_s(self) -> float:
        """The pause of a call after each read, so that tokens are passed on in small batches.

        With few calls a token is passed on immediately. With many, every wake-up delays all of
        them, and a pause that users do not notice saves a third of the CPU.
        """
        return 0.0 if len(self._calls) < _MANY_CALLS else _PAUSE_S

    @contextmanager
    def subscribe(self, run_id: str, *, live: bool = True) -> Iterator[Channel]:
        """Listen to ``run_id`` while the context is open; subscribe before the run starts.

        A listener that needs only the whole reply is not ``live`` and gets no batches.
        """
        channel = self._channels[run_id] = Channel(live=live, in_all=self._waiting)
        try:
            yield channel
        finally:
            channel.discard()
            del self._channels[run_id]

    def publish(self, run_id: str, batch: Batch) -> None:
        """Pass a batch to the listener of ``run_id``, if any."""
        channel = self._channels.get(run_id)
        if channel is not None and channel.live:
            channel.push(batch)

    def begin(self, run_id: str, call: str) -> None:
        """Record that ``call`` publishes parts of an answer."""
        channel = self._channels.get(run_id)
        if channel is not None:
            channel.unfinished.add(call)

    def complete(self, run_id: str, call: str) -> None:
        """Record that ``call`` has published its whole answer."""
        channel = self._channels.get(run_id)
        if channel is not None:
            channel.unfinished.discard(call)

    def lose(self, run_id: str, losses: tuple[str, ...]) -> None:
        """Record parts of the conversation that the provider's protocol cannot represent."""
        channel = self._channels.get(run_id)
        if channel is None:
            return
        for loss in losses:
            if len(channel.losses) >= MOST_LOSSES:
                channel.losses.add(MORE_LOSSES)
                return
            channel.losses.add(loss[:_LONGEST_LOSS])

    def losses(self, run_id: str) -> tuple[str, ...]:
        """Return the losses recorded while there was a listener, sorted."""
        channel = self._channels.get(run_id)
        return tuple(sorted(channel.losses)) if channel is not None else ()

    def listening(self, run_id: str) -> bool:
        """Return whether a listener gets batches, and not only the end."""
        channel = self._channels.get(run_id)
        return channel is not None and channel.live

    def close(self, run_id: str, outcome: RunOutcome) -> None:
        """Pass the end of the run to its listener."""
        channel = self._channels.get(run_id)
        if channel is not None:
            channel.end(outcome)

    @contextmanager
    def calling(self, run_id: str, call: "asyncio.Task[Reply]") -> Iterator[None]:
        """Make ``call`` cancellable by ``hang_up`` while the context is open.

        The call of a run that was hung up before is cancelled at once.
        """
        calls = self._calls.setdefault(run_id, set())
        calls.add(call)
        if run_id in self._left:
            call.cancel()
        if (channel := self._channels.get(run_id)) is not None:
            channel.on_call()
        try:
            yield
        finally:
            calls.discard(call)
            if not calls:
                self._calls.pop(run_id, None)

    def hang_up(self, run_id: str) -> None:
        """Cancel the calls of ``run_id`` now, also those that have not begun yet.

        Call ``cancelled`` when the engine knows that the run is cancelled, or cannot be told.
        """
        if run_id not in self._left:
            self._left[run_id] = asyncio.Event()
            if len(self._left) > _MOST_LEFT:
                self._left.popitem(last=False)
        for call in list(self._calls.get(run_id, ())):
            call.cancel()

    def has_left(self, run_id: str) -> bool:
        """Return whether ``run_id`` was hung up."""
        return run_id in self._left

    def cancelled(self, run_id: str) -> None:
        """Record that the engine knows the cancellation of a run that was hung up."""
        if (told := self._left.get(run_id)) is not None:
            told.set()

    async def until_cancelled(self, run_id: str) -> None:
        """Wait until the engine knows the cancellation of a run that was hung up.

        A call that reported its end earlier would make the run fail instead.
        """
        if (told := self._left.get(run_id)) is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), _CANCELLED_WITHIN_S)
