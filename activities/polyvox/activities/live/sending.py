"""The sending end of the live lane: streams what calls publish to the processes with the clients.

There is one connection to each process that holds a client of a run here (``Peer``), and a Route
for each such run. Nothing in a call's path waits for the network: messages are queued, and the
queues of a run and of a connection are limited. What was published in one tick of the event loop
goes into one frame.

Batches that do not fit are dropped, and nothing more of the run is sent before its end, because the
listener takes the rest from the Reply. Messages that are lost with a connection leave a gap in the
sequence, which the listener notices. The end of a run that does not arrive is found in the engine.

A client's retry may have attached to a run in another process. So when a listener does not answer,
or answers that nobody listens, the ledger is asked where the listener is.
"""

import asyncio
import logging
import ssl
import time
from collections import deque
from typing import Final

import aiohttp

from polyvox.activities.live import encoding
from polyvox.activities.live.channel import MOST_WAITING_BYTES, Batch, RunOutcome
from polyvox.activities.live.encoding import Message
from polyvox.activities.live.handshake import LaneRefused, greet
from polyvox.activities.live.relay import Relay, add_losses
from polyvox.activities.live.routes import Lookup, Route, State, size_of
from polyvox.workflows.errors import ModelError

PATH: Final = "/lane"

PING_S: Final = 5.0
"""The interval of pings; without an answer within half of it the connection is given up."""

MOST_QUEUED_BYTES: Final = 16 * 1024 * 1024
"""The most that waits for one connection."""

MOST_FRAME_BYTES: Final = 64 * 1024 * 1024
"""The largest frame that is accepted; one batch is never divided."""

_FRAME_BYTES = 256 * 1024
_MESSAGE_BYTES = 100
_FIRST_BACKOFF_S, _LAST_BACKOFF_S = 0.05, 2.0
_CHECK_S = 1.0
_DEAD_S = 1.5
"""A listener without an address for so long is dead; one that has just started has none yet in a
register that was read before."""

_IDLE_S = 600.0
_MOST_ROUTES = 10_000
_CLOSING_S = 2.0
_LOOKS = 200

log = logging.getLogger(__name__)


_BROKEN = (aiohttp.ClientError, OSError, ValueError, LaneRefused, ModelError)
"""What ends a connection: TimeoutError is an OSError, ValueError a message that is not known."""


class Lane:
    """The routes and connections of this process. Used on the event loop only.

    ``own`` is this process's id, ``key`` the deployment's for this purpose, ``tls`` what verifies
    the certificates of listeners.
    """

    def __init__(
        self,
        relay: Relay,
        lookup: Lookup,
        *,
        own: str,
        key: bytes,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.lookup = lookup
        self.own = own
        self.key = key
        self.tls = tls
        self._relay = relay
        self._routes: dict[str, Route] = {}
        self._peers: dict[str, Peer] = {}
        self._session: aiohttp.ClientSession | None = None
        self._checking: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()

    def calling(self, run_id: str, listener: str) -> None:
        route = self._route(run_id, listener)
        if route is not None:
            route.calls += 1
            if route.calls == 1:
                self._announce(route)

    def called(self, run_id: str) -> None:
        if (route := self._routes.get(run_id)) is not None:
            route.calls -= 1
            route.used_at = time.monotonic()
            if not route.calls and route.listener == self.own:
                del self._routes[run_id]

    def publish(self, run_id: str, batch: Batch, listener: str) -> None:
        route = self._routes.get(run_id) or self._route(run_id, listener)
        if route is None:
            return
        attempt = batch.call, batch.attempt
        sequence = route.sequences.get(attempt, 0)
        route.sequences[attempt] = sequence + 1
        route.attempts[batch.call] = batch.attempt
        if route.state in (State.END_ONLY, State.NOBODY):
            route.overflown = True  # for a listener that attaches later
        if route.overflown:
            return
        size = sum(map(size_of, batch.events))
        peer = self._peer(route)
        if route.waiting_bytes + size > MOST_WAITING_BYTES or peer.queued + size > peer.most:
            route.overflown = True
            self._send(route, [encoding.OVERFLOWN, run_id])
            return
        message = [encoding.BATCH, run_id, *attempt, sequence, batch.events]
        peer.send(message, route, size)

    def begin(self, run_id: str, call: str) -> None:
        self._tell(run_id, encoding.BEGUN, call)

    def complete(self, run_id: str, call: str) -> None:
        if (route := self._routes.get(run_id)) is not None and call in route.attempts:
            attempt = route.attempts[call]
            self._tell(run_id, encoding.COMPLETE, call, attempt, route.sequences[call, attempt])

    def lose(self, run_id: str, losses: tuple[str, ...], listener: str) -> None:
        if losses and (route := self._routes.get(run_id) or self._route(run_id, listener)):
            add_losses(route.losses, losses)
            self._tell(run_id, encoding.LOST, losses)

    def losses(self, run_id: str) -> tuple[str, ...]:
        route = self._routes.get(run_id)
        return tuple(sorted(route.losses)) if route is not None else ()

    def listening(self, run_id: str) -> bool:
        route = self._routes.get(run_id)
        return route is not None and route.state is State.LIVE

    def close(self, run_id: str, outcome: RunOutcome, listener: str) -> None:
        route = self._route(run_id, listener)
        if route is None:
            return
        del self._routes[run_id]
        message = [encoding.ENDED, run_id, outcome]
        if route.state is State.NOBODY:
            telling = asyncio.create_task(self._tell_other(route, message))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
        else:
            self._send(route, message)

    async def stop(self) -> None:
        """Send what waits, for at most two seconds, and close the connections."""
        for task in (self._checking, *self._telling):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(peer.sent() for peer in self._peers.values()))
        for peer in list(self._peers.values()):
            peer.task.cancel()
        if self._peers:
            await asyncio.wait([peer.task for peer in self._peers.values()])
        if self._session is not None:
            await self._session.close()

    def received(self, listener: str, message: Message) -> None:
        """Act on a message of a listener."""
        kind, run_id = message[0], message[1]
        if kind == encoding.HUNG_UP:
            self._relay.hang_up_here(run_id)
            return
        route = self._routes.get(run_id)
        if route is None or route.listener != listener:
            return
        if kind == encoding.HEARD:
            route.state = State.LIVE if message[2] else State.END_ONLY
            add_losses(route.losses, tuple(message[3]))
        elif kind == encoding.UNHEARD:
            route.state = State.NOBODY

    def connected(self, listener: str) -> list[Message]:
        """Return what a listener must know first after it was connected again."""
        return [
            [encoding.CALLING, route.run_id]
            for route in self._routes.values()
            if route.listener == listener and route.calls > 0
        ]

    def lost(self, listener: str) -> None:
        """Note that a listener is dead: its runs may have another one."""
        self._peers.pop(listener, None)
        for route in self._routes.values():
            if route.listener == listener:
                route.state = State.NOBODY

    def _route(self, run_id: str, listener: str) -> Route | None:
        route = self._routes.get(run_id)
        if route is None and listener:
            while len(self._routes) >= _MOST_ROUTES:
                del self._routes[next(iter(self._routes))]
            route = self._routes[run_id] = Route(run_id, listener)
            if listener == self.own:  # it matters only without a channel here: the client has left
                route.state = State.NOBODY
            if self._checking is None:
                self._checking = asyncio.create_task(self._check(), name="live lane")
        return route

    def _tell(self, run_id: str, kind: str, *members: object) -> None:
        if (route := self._routes.get(run_id)) is not None:
            self._send(route, [kind, run_id, *members])

    def _send(self, route: Route, message: Message) -> None:
        if route.listener != self.own and route.state is not State.NOBODY:
            self._peer(route).send(message, route, _MESSAGE_BYTES)

    def _peer(self, route: Route) -> "Peer":
        peer = self._peers.get(route.listener)
        if peer is None:
            if self._session is None:
                self._session = aiohttp.ClientSession(trust_env=False)
            peer = self._peers[route.listener] = Peer(self, route.listener, self._session)
        return peer

    async def _check(self) -> None:
        """Look for the listeners of runs that have none, and forget old routes."""
        while True:
            await asyncio.sleep(_CHECK_S)
            now = time.monotonic()
            for route in list(self._routes.values()):
                peer = self._peers.get(route.listener)
                if self._relay.channel(route.run_id) is not None:
                    continue  # the client is here
                if not route.calls:
                    if now - route.used_at > _IDLE_S:
                        self._routes.pop(route.run_id, None)
                elif route.state is State.NOBODY or (peer is not None and not peer.is_connected):
                    await self._look_again(route)

    async def _tell_other(self, route: Route, message: Message) -> None:
        """Send the end of a run to the process in which its client is now, if any."""
        listener = await self._listener_of(route)
        if listener and listener not in (self.own, route.listener):
            route.listener, route.state = listener, State.ASKED
            self._send(route, message)

    async def _listener_of(self, route: Route) -> str | None:
        try:
            return await self.lookup.listener_of(route.run_id)
        except ModelError as error:
            log.warning("The listener of run %s is not known: %s", route.run_id, error.message)
            return route.listener

    async def _look_again(self, route: Route) -> None:
        listener = await self._listener_of(route)
        if not listener or listener in (self.own, route.listener):
            # It may have been subscribed a moment later.
            if route.state is State.NOBODY and listener == route.listener != self.own:
                route.state = State.ASKED
                self._announce(route)
            return
        route.listener, route.state, route.waiting_bytes = listener, State.ASKED, 0
        self._announce(route)

    def _announce(self, route: Route) -> None:
        self._send(route, [encoding.CALLING, route.run_id])
        if route.overflown:
            self._send(route, [encoding.OVERFLOWN, route.run_id])


class Peer:
    """The connection to one listener; it lives until the listener is dead."""

    most = MOST_QUEUED_BYTES

    def __init__(self, lane: Lane, listener: str, session: aiohttp.ClientSession) -> None:
        self.listener = listener
        self.queued = 0
        self.is_connected = False
        self._lane = lane
        self._session = session
        self._queue: deque[tuple[Message, Route, int]] = deque()
        self._sending = False
        self._waiter: asyncio.Future[None] | None = None
        self.task = asyncio.create_task(self._run(), name=f"live lane to {listener}")

    def send(self, message: Message, route: Route, size: int) -> None:
        """Queue a message; one that is not a batch too, up to twice the limit."""
        if self.queued + size > 2 * self.most:
            return
        self.queued += size
        route.waiting_bytes += size
        self._queue.append((message, route, size))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def sent(self) -> None:
        """Return when everything queued is sent, or after a while."""
        for _ in range(_LOOKS):
            if not self.is_connected or not (self._queue or self._sending):
                return
            await asyncio.sleep(_CLOSING_S / _LOOKS)

    async def _run(self) -> None:
        backoff = _FIRST_BACKOFF_S
        known_at = time.monotonic()
        while True:
            try:
                address = await self._lane.lookup.address_of(self.listener)
                if address is not None:
                    known_at = time.monotonic()
                    await self._connection(address)
                    backoff = _FIRST_BACKOFF_S
                elif time.monotonic() - known_at > _DEAD_S:
                    break
            except _BROKEN as error:
                if backoff == _FIRST_BACKOFF_S:
                    log.warning(
                        "No live lane to %s: %s", self.listener, str(error) or type(error).__name__
                    )
            finally:
                self.is_connected = False
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LAST_BACKOFF_S)
        self._lane.lost(self.listener)

    async def _connection(self, address: str) -> None:
        """Connect, and send until the connection ends."""
        lane = self._lane
        async with self._session.ws_connect(
            address + PATH,
            heartbeat=PING_S,
            ssl=lane.tls or True,
            max_msg_size=MOST_FRAME_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
        ) as socket:
            await greet(socket, lane.key, lane.own, self.listener)
            self.is_connected = True
            log.info("Live lane to %s at %s", self.listener, address)
            if again := lane.connected(self.listener):
                await socket.send_bytes(encoding.encoded(again))
            writing = asyncio.create_task(self._write(socket))
            try:
                await self._read(socket)
            finally:
                writing.cancel()
                await asyncio.wait([writing])

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in socket:
            if frame.type is not aiohttp.WSMsgType.BINARY:
                break
            for message in encoding.decoded(frame.data):
                self._lane.received(self.listener, message)

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._queue:
                self._sending = False
                self._waiter = loop.create_future()
                await self._waiter
            self._sending = True
            try:
                await socket.send_bytes(self._frame())
            except (aiohttp.ClientError, OSError):
                await socket.close()
                return

    def _frame(self) -> bytes:
        """Return the next frame."""
        messages: list[Message] = []
        size = 0
        while self._queue and size < _FRAME_BYTES:
            message, route, taken = self._queue.popleft()
            size += taken
            if route.listener == self.listener:
                route.waiting_bytes -= taken
            messages.append(encoding.sendable(message))
        self.queued -= size
        return encoding.encoded(messages)
