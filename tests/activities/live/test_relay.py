"""The live lane between the activity that hears and the exchange that shows."""

import asyncio

from polyvox.activities.live.channel import Batch, RunOutcome
from polyvox.activities.live.relay import Relay
from polyvox.workflows.conversation import Text
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import PartDelta
from polyvox.workflows.reply import Reply

SOON_S = 30.0
NOW_S = 0.0
REPLY = Reply((Text("x"),))


def batch(text: str) -> Batch:
    return Batch("1", 1, [PartDelta(text)])


async def test_batches_come_in_order_and_together() -> None:
    """What came while nobody looked comes at once."""
    relay = Relay()
    with relay.subscribe("run") as channel:
        relay.publish("run", batch("a"))
        relay.publish("run", batch("b"))
        assert await channel.next(SOON_S) == [batch("a"), batch("b")]
        waiting = asyncio.create_task(channel.next(SOON_S))
        await asyncio.sleep(0)
        relay.publish("run", batch("c"))
        assert await waiting == [batch("c")]


async def test_silence_ends_the_wait_empty_handed() -> None:
    """An empty list without an outcome: nothing came in time."""
    with Relay().subscribe("run") as channel:
        assert await channel.next(NOW_S) == []
        assert channel.outcome is None


async def test_what_nobody_hears_is_gone() -> None:
    """Lossy by right: the Reply is the truth."""
    relay = Relay()
    relay.publish("run", batch("lost"))
    relay.close("run", RunOutcome(reply=REPLY))
    relay.lose("run", ("cache_control",))
    with relay.subscribe("run") as channel:
        assert await channel.next(NOW_S) == []
        assert (channel.outcome, channel.losses) == (None, set())


async def test_the_end_comes_after_the_last_words() -> None:
    """What was published before the end is still read; the first outcome counts."""
    relay = Relay()
    with relay.subscribe("run") as channel:
        relay.publish("run", batch("a"))
        relay.close("run", RunOutcome(reply=REPLY))
        relay.close("run", RunOutcome(error=ModelError("internal", "too late")))
        assert await channel.next(SOON_S) == [batch("a")]
        assert await channel.next(SOON_S) == []
        assert channel.outcome == RunOutcome(reply=REPLY)


async def test_who_waits_for_the_end_alone_is_no_listener() -> None:
    """It is told nothing but the end and the losses, so a retry takes nothing back."""
    relay = Relay()
    with relay.subscribe("run", live=False) as channel:
        assert not relay.listening("run")
        relay.publish("run", batch("a"))
        relay.lose("run", ("cache_control",))
        relay.close("run", RunOutcome(reply=REPLY))
        assert await channel.next(SOON_S) == []
        assert channel.losses == {"cache_control"}
    with relay.subscribe("run"):
        assert relay.listening("run")
    assert not relay.listening("run")


async def test_hanging_up_cancels_the_runs_own_calls() -> None:
    """Every call of that run at once, and none of another's."""
    relay = Relay()

    async def endless() -> Reply:
        await asyncio.Event().wait()
        return REPLY

    one, two, other = (asyncio.create_task(endless()) for _ in range(3))
    with relay.calling("run", one), relay.calling("run", two), relay.calling("other", other):
        relay.hang_up("run")
        relay.hang_up("nobody")
        await asyncio.wait([one, two], timeout=SOON_S)
        assert one.cancelled()
        assert two.cancelled()
        assert not other.done()
    relay.hang_up("other")
    await asyncio.sleep(0)
    assert not other.done()
    other.cancel()
