"""The receiving end of the live lane: passes what other processes publish to the listeners here.

Each connection belongs to a process that has proved that it has the deployment's key. A gap in the
sequence of a call's batches means that some are lost; then nothing more of the run is passed on
before its end, as for a slow listener.
"""

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import aiohttp

from polyvox.activities.live import encoding
from polyvox.activities.live.channel import Batch, Channel
from polyvox.activities.live.encoding import Message
from polyvox.activities.live.handshake import LaneRefused, admit
from polyvox.activities.live.relay import Relay, add_losses

if TYPE_CHECKING:
    from aiohttp.web import WebSocketResponse

_HUNG_UP_S = 30.0
_MOST_HUNG_UP = 10_000
_MOST_STRANGERS = 64

log = logging.getLogger(__name__)


class Receiver:
    """The connections of other processes to this one, ``own``. Used on the event loop only."""

    def __init__(self, relay: Relay, *, own: str, key: bytes) -> None:
        self._relay = relay
        self._own = own
        self._key = key
        self._connections: set[Connection] = set()
        self._running: dict[str, set[Connection]] = {}
        self._sequences: dict[str, dict[tuple[str, int], int]] = {}
        self._hung_up: dict[str, float] = {}
        self._strangers = 0

    @property
    def is_full(self) -> bool:
        """Whether too many connections have not proved yet who they are."""
        return self._strangers >= _MOST_STRANGERS

    async def serve(self, socket: "WebSocketResponse") -> None:
        """Serve a connection until it ends; one that does not prove its key is closed."""
        self._strangers += 1
        try:
            caller = await admit(socket, self._key, self._own)
        except (LaneRefused, TimeoutError) as refused:
            log.warning(
                "A connection to the live lane was refused: %s", str(refused) or "it is silent"
            )
            return
        finally:
            self._strangers -= 1
        connection = Connection(socket)
        self._connections.add(connection)
        try:
            async for frame in socket:
                if frame.type is not aiohttp.WSMsgType.BINARY:
                    break
                for message in encoding.decoded(frame.data):
                    self._apply(message, connection)
        except (ValueError, TypeError, LookupError) as error:
            log.warning("Process %s sent what is not a message: %s", caller, error)
        finally:
            self._connections.discard(connection)
            for run_id in connection.runs:
                self._running.get(run_id, set()).discard(connection)
            await connection.close()

    async def close(self) -> None:
        """Close all connections."""
        for connection in list(self._connections):
            await connection.close()

    def hang_up(self, run_id: str) -> None:
        """Ask the processes that run calls of ``run_id`` to cancel them.

        If none is known, all are asked: the run may have been started by another process. One that
        announces the run a moment later is asked then.
        """
        while len(self._hung_up) >= _MOST_HUNG_UP:
            del self._hung_up[next(iter(self._hung_up))]
        self._hung_up[run_id] = time.monotonic()
        for connection in self._running.get(run_id) or self._connections:
            connection.send([encoding.HUNG_UP, run_id])

    def forget(self, run_id: str) -> None:
        """Forget a run that nobody here listens to any more."""
        for connection in self._running.pop(run_id, ()):
            connection.runs.discard(run_id)
        self._sequences.pop(run_id, None)

    def _apply(self, message: Message, connection: "Connection") -> None:
        kind, run_id, *members = message
        channel = self._relay.channel(run_id)
        if channel is None:
            if kind == encoding.CALLING and self._was_hung_up(run_id):
                connection.send([encoding.HUNG_UP, run_id])
            elif kind in (encoding.CALLING, encoding.BATCH):
                connection.send([encoding.UNHEARD, run_id])
            return
        match kind, members:
            case encoding.BATCH, [call, attempt, sequence, events]:
                if self._follows(run_id, call, attempt, sequence):
                    if channel.live:
                        channel.push(Batch(call, attempt, encoding.events_of(events)))
                else:
                    channel.overflow()
            case encoding.CALLING, []:
                self._running.setdefault(run_id, set()).add(connection)
                connection.runs.add(run_id)
                connection.send([encoding.HEARD, run_id, channel.live, sorted(channel.losses)])
                if self._was_hung_up(run_id):
                    connection.send([encoding.HUNG_UP, run_id])
            case encoding.BEGUN, [call]:
                channel.unfinished.add(call)
                channel.elsewhere.add(call)
            case encoding.COMPLETE, [call, attempt, batches]:
                if not self._follows(run_id, call, attempt, batches):
                    channel.overflow()
                channel.unfinished.discard(call)
            case encoding.LOST, [losses]:
                add_losses(channel.losses, tuple(losses))
            case encoding.OVERFLOWN, []:
                channel.overflow()
            case encoding.ENDED, [outcome]:
                _end(channel, outcome)
            case _:
                raise ValueError(f"a message of the kind {kind!r}")

    def _follows(self, run_id: str, call: str, attempt: int, sequence: int) -> bool:
        """Return whether a batch is the next one of its attempt, and count it."""
        sequences = self._sequences.setdefault(run_id, {})
        expected = sequences.get((call, attempt), 0)
        sequences[call, attempt] = sequence + 1
        return bool(sequence == expected)

    def _was_hung_up(self, run_id: str) -> bool:
        return time.monotonic() - self._hung_up.get(run_id, -_HUNG_UP_S) < _HUNG_UP_S


class Connection:
    """A connection of another process. ``runs`` are those whose calls it runs."""

    def __init__(self, socket: "WebSocketResponse") -> None:
        self.runs: set[str] = set()
        self._socket = socket
        self._queue: deque[Message] = deque(maxlen=_MOST_HUNG_UP)
        self._waiter = asyncio.Event()
        self._writing = asyncio.create_task(self._write(), name="live lane answers")

    def send(self, message: Message) -> None:
        """Queue a message."""
        self._queue.append(message)
        self._waiter.set()

    async def close(self) -> None:
        self._writing.cancel()
        await asyncio.wait([self._writing])
        await self._socket.close()

    async def _write(self) -> None:
        while True:
            await self._waiter.wait()
            self._waiter.clear()
            messages = list(self._queue)
            self._queue.clear()
            try:
                await self._socket.send_bytes(encoding.encoded(messages))
            except (aiohttp.ClientError, OSError):
                return


def _end(channel: Channel, outcome: Any) -> None:
    if outcome is None:
        channel.ending.set()
    else:
        channel.end(encoding.outcome_of(outcome))
