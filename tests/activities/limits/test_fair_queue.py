"""A fair queue: places up to a limit, keys in turn, and an end of waiting."""

import asyncio

import pytest

from polyvox.activities.limits.fair_queue import Bounds, FairQueue, Full

LONG_S = 3600.0

pytestmark = pytest.mark.asyncio


async def test_keys_get_places_in_turn() -> None:
    """One request of another key does not wait for all of the first one's."""
    queue = FairQueue(Bounds(1, 100, LONG_S))
    await queue.hold(queue.turn("busy"))
    waiting = {name: queue.turn(name[0]) for name in ("a1", "a2", "a3", "b1", "b2")}
    order = []
    for _ in range(5):
        queue.leave()
        order += [name for name, turn in waiting.items() if turn.done() and name not in order]
    assert order == ["a1", "b1", "a2", "b2", "a3"]
    assert (queue.taken, queue.waiting) == (1, 0)


async def test_a_full_queue_refuses_at_once() -> None:
    queue = FairQueue(Bounds(1, 1, LONG_S))
    await queue.hold(queue.turn("a"))
    queue.turn("a")
    with pytest.raises(Full, match="length"):
        queue.turn("a")


async def test_a_key_that_fills_the_queue_makes_room_for_another() -> None:
    queue = FairQueue(Bounds(1, 4, LONG_S))
    await queue.hold(queue.turn("a"))
    turns = [queue.turn("a") for _ in range(4)]
    other = queue.turn("b")
    with pytest.raises(Full, match="length"):
        await turns[-1]
    queue.leave()
    queue.leave()
    await asyncio.wait_for(other, LONG_S)


async def test_waiting_ends() -> None:
    queue = FairQueue(Bounds(1, 4, 0.0))
    await queue.hold(queue.turn("a"))
    with pytest.raises(Full, match="time"):
        await queue.hold(queue.turn("a"))
    assert queue.waiting == 0


async def test_a_wait_that_cannot_end_in_time_is_refused_at_once() -> None:
    """When places become free slowly, a newcomer far behind is told so now."""
    queue = FairQueue(Bounds(1, 100, 10.0))
    await queue.hold(queue.turn("a"))
    for _ in range(20):
        queue.turn("a")
    queue._interval_s = 1.0
    with pytest.raises(Full, match="length"):
        queue.turn("a")
    assert not queue.turn("b").done()


async def test_a_cancelled_waiter_takes_no_place() -> None:
    queue = FairQueue(Bounds(1, 4, LONG_S))
    await queue.hold(queue.turn("a"))
    waiter = asyncio.create_task(queue.hold(queue.turn("a")))
    await asyncio.sleep(0)
    queue.leave()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert (queue.taken, queue.waiting) == (0, 0)
