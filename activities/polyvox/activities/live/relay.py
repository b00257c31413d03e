"""The relay: passes events from the activities that produce them to the exchange that sends them.

It is a queue per run in the process that holds the client. Events from other processes come over
the live lane (``sending.py``, ``receiving.py``). Events may be lost: without a listener an event is
dropped, because the Reply in the workflow's result is complete. Each batch contains its call and
attempt, so that the exchange, which knows what the client has received, can reject the start of a
second attempt after text of the first.

The end of a run is passed on in the same way (``close``), which saves the exchange a round trip to
the engine.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from polyvox.activities.ledger.entries import EndStatus
from polyvox.activities.live.hang_ups import HangUps
from polyvox.protocols.coverage.losses import MORE_LOSSES, MOST_LOSSES
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta
from polyvox.workflows.reply import Reply, Usage

FOLLOW_AFTER_S = 5.0
"""The end of a run is reported to its listener; for a longer run the engine is asked as well."""

FOLLOW_ELSEWHERE_AFTER_S = 1.0
"""The same for runs in other processes, which may die or be out of reach."""

_MANY_CALLS = 12
_PAUSE_S = 0.010

MOST_WAITING_BYTES = 1024 * 1024
"""The most that is queued for a slow listener; it gets the rest from the Reply."""

_LONGEST_LOSS = 256
"""The most characters of a loss: clients may choose them, and they are stored with the run."""

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


class Sender(Protocol):
    """Passes on what runs publish whose listener is in another process; see ``sending.Lane``."""

    def calling(self, run_id: str, listener: str) -> None: ...

    def called(self, run_id: str) -> None: ...

    def publish(self, run_id: str, batch: Batch, listener: str) -> None: ...

    def begin(self, run_id: str, call: str) -> None: ...

    def complete(self, run_id: str, call: str) -> None: ...

    def lose(self, run_id: str, losses: tuple[str, ...], listener: str) -> None: ...

    def losses(self, run_id: str) -> tuple[str, ...]: ...

    def listening(self, run_id: str) -> bool: ...

    def close(self, run_id: str, outcome: RunOutcome, listener: str) -> None: ...


class Receiver(Protocol):
    """Receives what other processes publish; see ``receiving.Receiver``."""

    def hang_up(self, run_id: str) -> None: ...

    def forget(self, run_id: str) -> None: ...


class Channel:
    """The queue of a run's listener; without ``live`` it gets only the run's end.

    ``ending`` is set if the run has ended and only the engine has the outcome. A
    ``kept`` one remembers what it passed on, for listeners that come later.
    """

    def __init__(self, *, live: bool, kept: bool = False) -> None:
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
        for event in batch.events:
            self._waiting_bytes += EVENT_BYTES
            if isinstance(event, PartDelta):
                self._waiting_bytes += len(event.text)
        if self._waiting_bytes > MOST_WAITING_BYTES:
            self.overflow()
            return
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
        if not self._batches and self.outcome is None:
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
        self._waiting_bytes = 0
        return batches

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Relay:
    """The channels of this process by run id. Used on the event loop only.

    ``listener`` is the process that holds the client. It is needed where nothing else of the run is
    known here; a call of the run makes it known.
    """

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._calls: dict[str, set[asyncio.Task[Reply]]] = {}
        self._sender: Sender | None = None
        self._receiver: Receiver | None = None
        self.follow_after_s = FOLLOW_AFTER_S
        self.hang_ups = HangUps()

    def connect(self, sender: Sender, receiver: Receiver) -> None:
        """Connect the relay with those of other processes."""
        self._sender, self._receiver = sender, receiver

    @property
    def is_connected(self) -> bool:
        """Whether calls of other processes can have a listener here."""
        return self._receiver is not None

    @property
    def pause_s(self) -> float:
        """The pause of a call after each read, so that tokens are passed on in small batches.

        With few calls a token is passed on immediately. With many, every wake-up delays all of
        them, and a pause that users do not notice saves a third of the CPU.
        """
        return 0.0 if len(self._calls) < _MANY_CALLS else _PAUSE_S

    @contextmanager
    def subscribe(self, run_id: str, *, live: bool = True, kept: bool = False) -> Iterator[Channel]:
        """Listen to ``run_id`` while the context is open; subscribe before the run starts.

        A listener that needs only the whole reply is not ``live`` and gets no batches. If others
        may listen to the same run later, what it gets is ``kept`` for them, up to a size.
        """
        channel = Channel(live=live, kept=kept)
        first = self._channels.setdefault(run_id, channel)
        if first is not channel:
            first.add(channel)
        try:
            yield channel
        finally:
            self._leave(run_id, channel)

    def _leave(self, run_id: str, channel: Channel) -> None:
        first = self._channels[run_id]
        if first is not channel:
            first.others.remove(channel)
        elif channel.others:
            heir, *heir.others = channel.others
            self._channels[run_id] = heir
        else:
            del self._channels[run_id]
            if self._receiver is not None:
                self._receiver.forget(run_id)

    def channel(self, run_id: str) -> Channel | None:
        """Return the channel of a listener in this process."""
        return self._channels.get(run_id)

    def is_shared(self, run_id: str) -> bool:
        """Return whether ``run_id`` has several listeners."""
        channel = self._channels.get(run_id)
        return channel is not None and bool(channel.others)

    def has_listener(self, run_id: str) -> bool:
        """Return whether ``run_id`` has a listener in this process."""
        return run_id in self._channels

    def publish(self, run_id: str, batch: Batch, listener: str = "") -> None:
        """Pass a batch to the listener of ``run_id``, if any."""
        channel = self._channels.get(run_id)
        if channel is not None:
            if channel.live:
                channel.push(batch)
        elif self._sender is not None:
            self._sender.publish(run_id, batch, listener)

    def begin(self, run_id: str, call: str) -> None:
        """Record that ``call`` publishes parts of an answer."""
        channel = self._channels.get(run_id)
        if channel is not None:
            channel.unfinished.add(call)
        elif self._sender is not None:
            self._sender.begin(run_id, call)

    def complete(self, run_id: str, call: str) -> None:
        """Record that ``call`` has published its whole answer."""
        channel = self._channels.get(run_id)
        if channel is not None:
            channel.unfinished.discard(call)
        elif self._sender is not None:
            self._sender.complete(run_id, call)

    def lose(self, run_id: str, losses: tuple[str, ...], listener: str = "") -> None:
        """Record parts of the conversation that the provider's protocol cannot represent."""
        channel = self._channels.get(run_id)
        if channel is not None:
            add_losses(channel.losses, losses)
        elif self._sender is not None:
            self._sender.lose(run_id, losses, listener)

    def losses(self, run_id: str) -> tuple[str, ...]:
        """Return the losses recorded while there was a listener, sorted."""
        channel = self._channels.get(run_id)
        if channel is not None:
            return tuple(sorted(channel.losses))
        return self._sender.losses(run_id) if self._sender is not None else ()

    def listening(self, run_id: str) -> bool:
        """Return whether a listener gets batches, and not only the end."""
        channel = self._channels.get(run_id)
        if channel is not None:
            return channel.live
        return self._sender is not None and self._sender.listening(run_id)

    def close(self, run_id: str, outcome: RunOutcome, listener: str = "") -> None:
        """Pass the end of the run to its listener."""
        channel = self._channels.get(run_id)
        if channel is not None:
            channel.end_all(outcome)
        elif self._sender is not None:
            self._sender.close(run_id, outcome, listener)

    @contextmanager
    def calling(
        self, run_id: str, call: "asyncio.Task[Reply]", listener: str = ""
    ) -> Iterator[None]:
        """Make ``call`` cancellable by ``hang_up`` while the context is open.

        The call of a run that was hung up before is cancelled at once.
        """
        calls = self._calls.setdefault(run_id, set())
        calls.add(call)
        if run_id in self.hang_ups:
            call.cancel()
        if (channel := self._channels.get(run_id)) is not None:
            channel.on_call()
        if self._sender is not None:
            self._sender.calling(run_id, listener)
        try:
            yield
        finally:
            if self._sender is not None:
                self._sender.called(run_id)
            calls.discard(call)
            if not calls:
                self._calls.pop(run_id, None)

    def hang_up(self, run_id: str) -> None:
        """Cancel the calls of ``run_id`` now, in every process, also those that begin later.

        Call ``hang_ups.cancelled`` when the engine knows that the run is cancelled.
        """
        self.hang_up_here(run_id)
        if self._receiver is not None:
            self._receiver.hang_up(run_id)

    def hang_up_here(self, run_id: str) -> None:
        """Cancel the calls of ``run_id`` in this process."""
        self.hang_ups.add(run_id)
        for call in list(self._calls.get(run_id, ())):
            call.cancel()


def add_losses(known: set[str], losses: tuple[str, ...]) -> None:
    """Add ``losses`` to those of a run, within its limits."""
    for loss in losses:
        if len(known) >= MOST_LOSSES:
            known.add(MORE_LOSSES)
            return
        known.add(loss[:_LONGEST_LOSS])
