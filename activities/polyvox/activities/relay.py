"""The live lane: events from the activity that makes them to the exchange that shows them.

In one process it is a queue per run. It is lossy by right: an event published while nobody listens
is gone, because the Reply in the workflow's result is the truth and completes what was shown. Each
batch says which call and which attempt it comes from, so that the exchange, which alone knows what
the client has, can refuse a second attempt's beginning after a first one's words.

A run's end travels the same way (``close``), which spares the exchange a round trip to the engine.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event
from polyvox.workflows.reply import Reply


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one read. ``call`` names the activity, ``attempt`` counts from 1."""

    call: str
    attempt: int
    events: list[Event]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: exactly one of ``reply`` and ``error`` is set."""

    reply: Reply | None = None
    error: ModelError | None = None


class Channel:
    """One listener's end of a run's lane; without ``live`` only the run's end comes."""

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.losses: set[str] = set()
        self.outcome: Outcome | None = None
        self._batches: deque[Batch] = deque()
        self._news = asyncio.Event()

    def push(self, batch: Batch) -> None:
        self._batches.append(batch)
        self._news.set()

    def end(self, outcome: Outcome) -> None:
        self.outcome = self.outcome or outcome
        self._news.set()

    async def next(self, timeout_s: float) -> list[Batch]:
        """Return what has come, waiting for it up to ``timeout_s``.

        An empty list means that the run has ended (``outcome`` is set) or nothing came in time.
        """
        if not self._batches and self.outcome is None:
            self._news.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
            except TimeoutError:
                return []
        batches = list(self._batches)
        self._batches.clear()
        return batches


class Relay:
    """All lanes of this process, by run id. Used on the event loop only."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._calls: dict[str, set[asyncio.Task[Reply]]] = {}

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
        if channel is not None:
            channel.losses.update(losses)

    def losses(self, run_id: str) -> tuple[str, ...]:
        """Return what was told by ``lose`` while somebody listened, sorted."""
        channel = self._channels.get(run_id)
        return tuple(sorted(channel.losses)) if channel is not None else ()

    def listening(self, run_id: str) -> bool:
        """Whether somebody reads along, and not only waits for the end."""
        channel = self._channels.get(run_id)
        return channel is not None and channel.live

    def close(self, run_id: str, outcome: Outcome) -> None:
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
