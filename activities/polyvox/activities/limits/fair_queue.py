"""A limit of concurrent work with a queue that serves its keys in turn.

With one queue for all, a key that sends a thousand requests would make every other key wait for all
of them. Here each key has its own queue, and the next free place goes to the next key.
"""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Literal

Reason = Literal["length", "time"]


_AVERAGED = 16
"""How many of the last grants the average interval counts for the most part."""


class Full(Exception):
    """There is no place: the queue has too great a ``length``, or the ``time`` is over."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Bounds:
    """``most`` places, ``most_waiting`` in the queue, each for up to ``wait_s`` seconds."""

    most: int
    most_waiting: int
    wait_s: float


class FairQueue:
    """Counts those who have a place, and queues the others by key. Used on one event loop only."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.taken = 0
        self.waiting = 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._granted_at = 0.0
        self._interval_s = 0.0

    def turn(self, key: str) -> "asyncio.Future[None]":
        """Return a future that is done when ``key`` has a place; it is done now if one is free.

        It raises Full when the time is over. Raises Full if the turn is not expected in time, and
        if the queue is full, unless another key has more in it: then the newest of that key makes
        room.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.taken < self.bounds.most:
            self.taken += 1
            turn.set_result(None)
            return turn
        if self._expected_s(key) > self.bounds.wait_s:
            raise Full("length")
        if self.waiting >= self.bounds.most_waiting:
            self._make_room(key)
        if not self.waiting:
            self._granted_at, self._interval_s = turn.get_loop().time(), 0.0
        limit = turn.get_loop().call_later(self.bounds.wait_s, _refuse, turn, "time")
        self._queues.setdefault(key, deque()).append(turn)
        self.waiting += 1

        def over(_: object) -> None:
            limit.cancel()
            self._forget(key, turn)

        turn.add_done_callback(over)
        return turn

    async def hold(self, turn: "asyncio.Future[None]") -> None:
        """Wait for ``turn``; call ``leave`` afterwards unless this raises."""
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # cancelled just after it got its turn
            raise

    def leave(self) -> None:
        """Give a place back; the next key in turn gets it."""
        while self._queues:
            key, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            self.waiting -= 1
            if queue:
                self._queues[key] = queue  # behind the others
            if not turn.done():
                self._note_grant(turn.get_loop().time())
                turn.set_result(None)
                return
        self.taken -= 1

    def _note_grant(self, now: float) -> None:
        interval_s, self._granted_at = now - self._granted_at, now
        self._interval_s += (interval_s - self._interval_s) / _AVERAGED

    def _expected_s(self, key: str) -> float:
        """Return how long a newcomer will wait, if places become free as fast as lately."""
        own = len(self._queues.get(key, ())) + 1
        ahead = sum(min(own, len(queue)) for queue in self._queues.values())
        return ahead * self._interval_s

    def _make_room(self, key: str) -> None:
        most = max(self._queues, key=lambda other: len(self._queues[other]), default=key)
        if len(self._queues.get(most, ())) <= len(self._queues.get(key, ())) + 1:
            raise Full("length")
        last = self._queues[most][-1]
        self._forget(most, last)
        _refuse(last, "length")

    def _forget(self, key: str, turn: "asyncio.Future[None]") -> None:
        queue = self._queues.get(key)
        if queue is None or turn not in queue:
            return
        queue.remove(turn)
        self.waiting -= 1
        if not queue:
            del self._queues[key]


def _refuse(turn: "asyncio.Future[None]", reason: Reason) -> None:
    if not turn.done():
        turn.set_exception(Full(reason))
