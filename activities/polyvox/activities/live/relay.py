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
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from polyvox.activities.live.channel import Batch, Channel, RunOutcome, Waiting
from polyvox.activities.live.hang_ups import HangUps
from polyvox.protocols.coverage.losses import MORE_LOSSES, MOST_LOSSES
from polyvox.workflows.reply import Reply

FOLLOW_AFTER_S = 5.0
"""The end of a run is reported to its listener; for a longer run the engine is asked as well."""

FOLLOW_ELSEWHERE_AFTER_S = 1.0
"""The same for runs in other processes, which may die or be out of reach."""

_MANY_CALLS = 12
_PAUSE_S = 0.010

_LONGEST_LOSS = 256
"""The most characters of a loss: clients may choose them, and they are stored with the run."""


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
        self._waiting = Waiting()

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
        channel = Channel(live=live, kept=kept, in_all=self._waiting)
        first = self._channels.setdefault(run_id, channel)
        if first is not channel:
            first.add(channel)
        try:
            yield channel
        finally:
            channel.discard()
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
