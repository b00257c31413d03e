"""A place for each run of this process: so many at once, and so many that are being started.

A start costs the engine several transactions. If a thousand begin at once, all of them are slow and
many exceed the engine's time limit; if some begin while the others wait, each is fast. The limit of
all runs bounds the memory. Who waits too long, or finds the queue full, gets an error at once.
"""

import asyncio
from collections.abc import Callable

from polyvox.activities.limits.fair_queue import Bounds, FairQueue, Full
from polyvox.workflows.errors import ModelError

RETRY_AFTER_S = 2.0

STARTS_AT_ONCE = 32
"""From the start to the first call. On two cores the embedded engine is busy with 10 runs at a time
(70 a second, 0.14 s each); with 50 it is not faster and each takes 0.8 s."""

UNBOUNDED = Bounds(10**9, 0, 0.0)


class Places:
    """The places of a process: of ``runs`` in flight, and of ``starts``."""

    def __init__(self, runs: Bounds = UNBOUNDED, starts: Bounds = UNBOUNDED) -> None:
        self.runs = FairQueue(runs)
        self.starts = FairQueue(starts)
        self.stopped: ModelError | None = None
        """Why no run gets a place any more."""
        self.on_stop: set[Callable[[], None]] = set()
        """Called when the server begins to stop."""
        self._open: set[Place] = set()

    def place(self, key_id: str) -> "Place":
        """Return the place of a run of this key; it is to be entered."""
        return Place(self, key_id)

    def stop(self) -> None:
        """Begin to stop: answers in progress may end, idle connections are to be closed."""
        for call in list(self.on_stop):
            call()

    def cut_off(self) -> None:
        """End the answers that are still in progress, each with its protocol's error."""
        self.stopped = ModelError(
            "overloaded",
            "The server is stopping. Try again in a moment.",
            retry_after_s=RETRY_AFTER_S,
        )
        for place in list(self._open):
            place.withdraw(self.stopped)
            place.on_cut(self.stopped)

    def add(self, place: "Place") -> None:
        """Count a place as open, so that ``cut_off`` finds it."""
        self._open.add(place)

    def remove(self, place: "Place") -> None:
        self._open.discard(place)


class Place:
    """The place of one run: call ``enter``, ``begun`` when it is started, ``leave`` at its end."""

    def __init__(self, places: Places, key_id: str) -> None:
        self._places = places
        self._key_id = key_id
        self._held: list[FairQueue] = []
        self._turn: asyncio.Future[None] | None = None
        self._withdrawn: ModelError | None = places.stopped
        self.on_cut: Callable[[ModelError], object] = lambda _: None
        """Called with the error that the answer is to end with."""

    async def enter(self) -> None:
        """Wait for the place. Raises ModelError("overloaded"), or the error of ``withdraw``."""
        self._places.add(self)
        for queue in (self._places.runs, self._places.starts):
            if self._withdrawn is not None:
                raise self._withdrawn
            try:
                self._turn = queue.turn(self._key_id)
                await queue.hold(self._turn)
            except Full as full:
                raise self._refusal(queue, full) from None
            self._held.append(queue)
        if self._withdrawn is not None:
            raise self._withdrawn

    def withdraw(self, error: ModelError) -> None:
        """Make ``enter`` raise ``error``, also while it waits."""
        self._withdrawn = self._withdrawn or error
        if self._turn is not None and not self._turn.done():
            self._turn.set_exception(error)

    def begun(self) -> None:
        """Give the place of the start back."""
        if self._places.starts in self._held:
            self._held.remove(self._places.starts)
            self._places.starts.leave()

    def begun_within(self, limit_s: float) -> None:
        """Give the place of the start back after ``limit_s`` seconds, if it is still held."""
        asyncio.get_running_loop().call_later(limit_s, self.begun)

    def leave(self) -> None:
        """Give everything back."""
        self._places.remove(self)
        while self._held:
            self._held.pop().leave()

    def _refusal(self, queue: FairQueue, full: Full) -> ModelError:
        bounds = queue.bounds
        why = (
            f"{queue.waiting} requests wait already"
            if full.reason == "length"
            else f"the request has waited for {bounds.wait_s:g} s"
        )
        what = (
            f"The server has {bounds.most} runs in progress"
            if queue is self._places.runs
            else "The server is starting as many runs as it can"
        )
        return ModelError(
            "overloaded", f"{what}, and {why}. Try again in a moment.", retry_after_s=RETRY_AFTER_S
        )
