"""The live lane between two processes, over real connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from polyvox.activities.live.channel import MOST_WAITING_BYTES, Batch, RunOutcome
from polyvox.activities.live.encoding import (
    decoded,
    encoded,
    events_as_json,
    events_of,
    outcome_as_json,
    outcome_of,
)
from polyvox.activities.live.handshake import LaneRefused, greet
from polyvox.activities.live.receiving import Receiver
from polyvox.activities.live.relay import Relay
from polyvox.activities.live.routes import Lookup
from polyvox.activities.live.sending import PATH, Lane
from polyvox.worker.hosting.lane_port import LanePort
from polyvox.worker.settings.cluster import ClusterSettings
from polyvox.workflows.conversation import Json, Text, ToolCall, Wire
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
)
from polyvox.workflows.reply import Reply, Usage

KEY = b"k" * 32
SOON_S = 20.0
REPLY = Reply((Text("whole"),), usage=Usage(1, output=2))
RUN = "run_1"


async def ready() -> tuple[bool, dict[str, Json]]:
    return True, {}


async def eventually(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)


@dataclass
class Gateway:
    """A process that can hold clients."""

    name: str
    relay: Relay
    receiver: Receiver
    port: LanePort


@dataclass
class Deployment:
    """What the register and the ledger would know."""

    addresses: dict[str, str] = field(default_factory=dict)
    listeners: dict[str, str] = field(default_factory=dict)

    async def address_of(self, process_id: str) -> str | None:
        return self.addresses.get(process_id)

    async def listener_of(self, run_id: str) -> str | None:
        return self.listeners.get(run_id)

    @asynccontextmanager
    async def gateway(
        self, name: str = "p_gateway", port: int = 0, key: bytes = KEY
    ) -> AsyncIterator[Gateway]:
        relay = Relay()
        receiver = Receiver(relay, own=name, key=key)
        opened = LanePort(ClusterSettings(port=port), "127.0.0.1:1")
        relay.connect(self.lane(relay, name), receiver)
        await opened.serve(receiver, ready)
        self.addresses[name] = opened.address
        try:
            yield Gateway(name, relay, receiver, opened)
        finally:
            await receiver.close()
            await opened.close()

    @asynccontextmanager
    async def worker(self, name: str = "p_worker", key: bytes = KEY) -> AsyncIterator[Relay]:
        relay = Relay()
        lane = self.lane(relay, name, key)
        relay.connect(lane, Receiver(relay, own=name, key=key))
        try:
            yield relay
        finally:
            await lane.stop()

    def lane(self, relay: Relay, name: str, key: bytes = KEY) -> Lane:
        return Lane(relay, Lookup(self.address_of, self.listener_of), own=name, key=key)


@asynccontextmanager
async def call(worker: Relay, listener: str = "p_gateway") -> AsyncIterator["asyncio.Task[Reply]"]:
    """A call of the run that goes on until it is cancelled."""

    async def ask() -> Reply:
        await asyncio.Event().wait()
        return REPLY

    asking = asyncio.create_task(ask())
    with worker.calling(RUN, asking, listener):
        yield asking
    asking.cancel()


def batch(*texts: str, attempt: int = 1) -> Batch:
    return Batch("1", attempt, [PartDelta(text) for text in texts])


def test_events_and_outcomes_survive_the_encoding() -> None:
    """Also those with wire elements, halves of characters, and numbers beyond 64 bits."""
    wire = Wire("messages", {"type": "signature_delta", "n": 2**70, "s": "\ud800"})
    events: list[Event] = [
        Started("m", Usage(3), wire),
        PartStarted(ToolCall("call_1", "look", "")),
        PartDelta("plain"),
        PartDelta("half \ud83d"),
        PartDelta("", wire),
        PartEnded(ToolCall("call_1", "look", '{"a": 1}')),
        UsageReported(Usage(1, output=5)),
        Finished("stop", None, wire),
    ]
    [again] = decoded(encoded([events_as_json(events)]))
    assert events_of(again) == events
    for outcome in (
        RunOutcome(reply=REPLY, usage=Usage(9, unknown=1), notes=({"what": "x"},)),
        RunOutcome(error=ModelError("rate_limit", "slow down", retry_after_s=2)),
    ):
        [document] = decoded(encoded([outcome_as_json(outcome)]))
        found = outcome_of(document)
        assert (found.reply, found.usage, found.notes) == (
            outcome.reply,
            outcome.usage,
            outcome.notes,
        )
        assert (found.error and found.error.kind) == (outcome.error and outcome.error.kind)
    assert outcome_as_json(RunOutcome(reply=Reply((Text("x" * 300_000),)))) is None


async def test_a_call_streams_to_a_client_of_another_process() -> None:
    """Batches in their order, losses, the completion and the end; the worker knows it is heard."""
    deployment = Deployment()
    async with deployment.gateway() as gateway, deployment.worker() as worker:
        with gateway.relay.subscribe(RUN) as channel:
            gateway.relay.lose(RUN, ("seen by the gateway",))
            async with call(worker):
                await eventually(lambda: worker.listening(RUN))
                worker.lose(RUN, ("cache_control",))
                worker.publish(RUN, batch("a"))
                worker.begin(RUN, "1")
                worker.publish(RUN, batch("b", "c"))
                await eventually(lambda: channel.unfinished == {"1"})
                assert await channel.next(SOON_S) == [batch("a"), batch("b", "c")]
            worker.complete(RUN, "1")
            assert worker.losses(RUN) == ("cache_control", "seen by the gateway")
            worker.close(RUN, RunOutcome(reply=REPLY), "p_gateway")
            await eventually(lambda: channel.outcome)
            assert channel.outcome == RunOutcome(reply=REPLY)
            assert channel.unfinished == set()
            assert channel.losses == {"cache_control", "seen by the gateway"}


async def test_what_only_ends_or_shows_needs_no_call() -> None:
    """The host may be in a third process, and progress is an activity of its own."""
    deployment = Deployment()
    async with deployment.gateway() as gateway, deployment.worker() as worker:
        with gateway.relay.subscribe(RUN) as channel:
            worker.publish(RUN, batch("progress"), "p_gateway")
            assert await channel.next(SOON_S) == [batch("progress")]
            worker.close(RUN, RunOutcome(reply=Reply((Text("x" * 300_000),))), "p_gateway")
            async with asyncio.timeout(SOON_S):
                await channel.ending.wait()
            assert channel.outcome is None


async def test_a_client_that_needs_only_the_end_gets_no_batches() -> None:
    """After the answer nothing is sent; the call is not taken for one that was heard."""
    deployment = Deployment()
    async with deployment.gateway() as gateway, deployment.worker() as worker:
        with gateway.relay.subscribe(RUN, live=False) as channel:
            async with call(worker):
                worker.publish(RUN, batch("a"))
                worker.begin(RUN, "1")
                await eventually(lambda: channel.unfinished)
                assert not worker.listening(RUN)
            assert await channel.next(0.0) == []


async def test_hanging_up_reaches_the_call_at_once() -> None:
    """Also if the client left before the call was announced, or is a client of another process."""
    deployment = Deployment()
    async with deployment.gateway() as gateway, deployment.worker() as worker:
        with gateway.relay.subscribe(RUN):
            async with call(worker) as asking:
                await eventually(lambda: worker.listening(RUN))
                gateway.relay.hang_up(RUN)
                await eventually(asking.cancelled)
        async with call(worker) as asking:  # the run's next step, which has just begun
            await eventually(asking.cancelled)
        async with deployment.gateway("p_other") as other:
            other.relay.hang_up("run_of_another_process")
            assert not asking.done() or asking.cancelled()


async def test_a_gap_ends_the_preview() -> None:
    """What is lost with a connection cannot be filled in, so the rest comes from the Reply."""
    deployment = Deployment()
    async with deployment.gateway() as gateway, deployment.worker() as worker:
        with gateway.relay.subscribe(RUN) as channel:
            async with call(worker):
                worker.publish(RUN, batch("a"))
                assert await channel.next(SOON_S) == [batch("a")]
                gateway.receiver._sequences[RUN]["1", 1] = 0  # as if it had not arrived
                worker.publish(RUN, batch("b"))
                worker.publish(RUN, batch("c"))
                worker.lose(RUN, ("last",))
                await eventually(lambda: channel.losses)
                assert await channel.next(0.0) == []
            worker.close(RUN, RunOutcome(reply=REPLY), "p_gateway")
            await eventually(lambda: channel.outcome or channel.postponed)


async def test_another_attempt_begins_a_new_sequence() -> None:
    """The exchange decides whether it may replace the first one."""
    deployment = Deployment()
    async with (
        deployment.gateway() as gateway,
        deployment.worker() as first,
        deployment.worker("p_second") as second,
    ):
        with gateway.relay.subscribe(RUN) as channel:
            async with call(first):
                first.publish(RUN, batch("a"))
                assert await channel.next(SOON_S) == [batch("a")]
            async with call(second):
                second.publish(RUN, batch("a", attempt=2))
                assert await channel.next(SOON_S) == [batch("a", attempt=2)]


async def test_a_lost_connection_is_made_again() -> None:
    """A gateway that comes back under its id and port gets what waited, and the call's news."""
    deployment = Deployment()
    async with deployment.worker() as worker:
        async with deployment.gateway() as gateway:
            port = int(gateway.port.address.rpartition(":")[2])
            with gateway.relay.subscribe(RUN):
                worker.publish(RUN, batch("a"), "p_gateway")
                await eventually(lambda: gateway.receiver._sequences)
        async with call(worker), deployment.gateway(port=port) as gateway:
            with gateway.relay.subscribe(RUN) as channel:
                await eventually(lambda: worker.listening(RUN))
                worker.publish(RUN, batch("b"))
                worker.lose(RUN, ("last",))
                await eventually(lambda: channel.losses)
                assert await channel.next(0.0) == []  # "a" is missing


async def test_a_client_that_attached_elsewhere_is_found() -> None:
    """Its first gateway is dead, or says that nobody listens; the ledger knows the second."""
    deployment = Deployment()
    async with deployment.gateway("p_second") as second, deployment.worker() as worker:
        with second.relay.subscribe(RUN) as channel:
            async with call(worker, "p_dead"):
                worker.publish(RUN, batch("a"))
                deployment.listeners[RUN] = "p_second"
                await eventually(lambda: worker.listening(RUN))
                worker.publish(RUN, batch("b"))
                worker.lose(RUN, ("last",))
                await eventually(lambda: channel.losses)
                assert await channel.next(0.0) == []  # "a" was lost
            worker.close(RUN, RunOutcome(reply=REPLY), "p_dead")
            await eventually(lambda: channel.outcome or channel.postponed)


async def test_a_client_that_left_this_process_is_found_in_another() -> None:
    """A retry attached to a run whose first listener was here; the call has gone on meanwhile."""
    deployment = Deployment()
    async with deployment.gateway("p_second") as second, deployment.worker() as worker:
        subscription = worker.subscribe(RUN)
        here = subscription.__enter__()
        async with call(worker, "p_worker") as asking:
            worker.publish(RUN, batch("a"))
            assert await here.next(SOON_S) == [batch("a")]
            subscription.__exit__(None, None, None)
            worker.publish(RUN, batch("b"))
            deployment.listeners[RUN] = "p_second"
            with second.relay.subscribe(RUN, live=False):
                await eventually(lambda: second.receiver._running.get(RUN))
                second.relay.hang_up(RUN)
                await eventually(asking.cancelled)
    async with deployment.gateway("p_second") as second, deployment.worker() as worker:
        with second.relay.subscribe(RUN, live=False) as late:
            worker.close(RUN, RunOutcome(reply=REPLY), "p_worker")  # between calls
            await eventually(lambda: late.outcome or late.postponed)


async def test_a_gateway_that_is_dead_costs_the_call_nothing() -> None:
    """What does not fit is dropped, and memory is limited."""
    deployment = Deployment(addresses={"p_gateway": "http://127.0.0.1:1"})
    async with deployment.worker() as worker, call(worker):
        for _ in range(40):
            worker.publish(RUN, batch("x" * 100_000))
        route = worker._sender._routes[RUN]  # type: ignore[union-attr]
        assert route.overflown
        assert route.waiting_bytes <= MOST_WAITING_BYTES + 1_000
        assert route.sequences["1", 1] == 40
        assert not worker.listening(RUN)


async def test_a_slow_gateway_gets_the_rest_from_the_reply() -> None:
    """A reader that stops reading overflows its own runs only, not the worker."""
    deployment = Deployment()
    async with deployment.gateway() as gateway, deployment.worker() as worker:
        with gateway.relay.subscribe(RUN) as channel:
            async with call(worker):
                for _ in range(40):
                    worker.publish(RUN, batch("x" * 100_000))
                worker.lose(RUN, ("last",))
                await eventually(lambda: channel.losses)
            sent = await channel.next(0.0)
            assert 0 < sum(len(b.events) for b in sent) <= 10
            worker.close(RUN, RunOutcome(reply=REPLY), "p_gateway")
            await eventually(lambda: channel.outcome or channel.postponed)


async def test_strangers_are_refused() -> None:
    """Another key on either side, another process at the address, and a recorded connection."""
    deployment = Deployment()
    async with deployment.gateway() as gateway, aiohttp.ClientSession() as session:
        url = gateway.port.address + PATH
        async with session.ws_connect(url) as socket:
            with pytest.raises(LaneRefused, match="another deployment key"):
                await greet(socket, b"x" * 32, "p_worker", "p_gateway")
        async with session.ws_connect(url) as socket:
            with pytest.raises(LaneRefused, match="instead of p_other"):
                await greet(socket, KEY, "p_worker", "p_other")
        said: list[Json] = []

        class Recorded:
            """A connection that is recorded."""

            async def send_json(self, data: Json) -> None:
                said.append(data)
                await socket.send_json(data)

            async def receive_json(self) -> Json:
                return await socket.receive_json()

        async with session.ws_connect(url) as socket:
            await greet(Recorded(), KEY, "p_worker", "p_gateway")
            await socket.send_bytes(encoded([["a", RUN]]))
            assert (await socket.receive()).type is aiohttp.WSMsgType.BINARY
        async with session.ws_connect(url) as socket:
            await socket.send_json(said[0])
            await socket.receive_json()
            await socket.send_json(said[1])
            await socket.send_bytes(encoded([["a", RUN]]))
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        async with session.ws_connect(url) as socket:
            await socket.send_bytes(b"j[]")
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
