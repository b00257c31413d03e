"""WebSocket connections within limits, below what the application sees of them.

uvicorn bounds the bytes of a message. It does not bound its fragments, how long it takes, how many
small frames are parsed at once, or the answers to pings that the client does not read.
"""

import logging
from asyncio.transports import BaseTransport
from typing import Any

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

from polyvox.gateway.http.connection_limits import Guard
from polyvox.gateway.http.connections import Config

log = logging.getLogger(__name__)

_MOST_FRAGMENTS = 16_384
"""Of one message; libraries that fragment messages use fragments of some KiB."""

_MOST_PINGS_PER_S = 100

_SLICE_BYTES = 8192
"""Parsed at a time: some 1,400 of the smallest frames, 20 ms."""

_LEAST_BYTES_PER_S = 1024
"""A message that arrives more slowly than this is refused once ``read_s`` is over."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    """One connection within limits."""

    config: Config
    _guard: Guard
    _in_message = False
    _partial_since: float | None = None
    _partial_bytes = 0
    _pings = 0
    _rest: bytearray

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._rest = bytearray()
        self._guard = Guard(self.config.open_connections, self.client)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.leave()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Begin to stop. The application closes the connection behind its current answer."""
        if not self.handshake_complete:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        self._rest += data
        if len(self._rest) > _SLICE_BYTES:
            self.transport.pause_reading()
        self._feed()

    def _feed(self) -> None:
        """Parse a slice of the data, and the rest after other tasks had their turn.

        One read may hold tens of thousands of small frames.
        """
        if self.close_sent or self.disconnected or not self._rest:
            self._rest.clear()
            return
        data = bytes(self._rest[:_SLICE_BYTES])
        del self._rest[:_SLICE_BYTES]
        super().data_received(data)
        if len(self.frames) > _MOST_FRAGMENTS:
            self._cut_off("A message has too many fragments.")
        self._note_progress(len(data))
        if self.read_paused:
            return  # a message waits for the application; receive() continues
        if self._rest:
            self.loop.call_soon(self._feed)
        else:
            self.transport.resume_reading()

    def _note_progress(self, size: int) -> None:
        if not self._in_message and not self.conn.reader.buffer:
            self._partial_since = None
            return
        if self._partial_since is None:
            self._partial_since, self._partial_bytes = self.loop.time(), 0
        self._partial_bytes += size

    def handle_text(self, event: Any) -> None:
        # As bytes: decoding 64 MiB blocks the event loop, and the parser reads UTF-8 itself.
        self.handle_bytes(event)

    def handle_bytes(self, event: Any) -> None:
        self._in_message = not event.fin
        super().handle_bytes(event)

    def handle_cont(self, event: Any) -> None:
        self._in_message = not event.fin
        super().handle_cont(event)

    def handle_ping(self) -> None:
        self._pings += 1
        if self._pings > _MOST_PINGS_PER_S:
            self._cut_off("There are too many pings.")
            return
        pong = self.conn.data_to_send()
        if self.writable.is_set():  # a client that does not read gets no more answers
            self.transport.write(b"".join(pong))

    async def receive(self) -> ASGIReceiveEvent:
        message = await super().receive()
        if self._rest and not self.read_paused:
            self.transport.pause_reading()
            self.loop.call_soon(self._feed)
        return message

    def send_keepalive_ping(self) -> None:
        if self.read_paused:  # the pong would not be read in time, and the client seem silent
            self.schedule_ping()
            return
        super().send_keepalive_ping()

    def check(self, now: float) -> None:
        """Close the connection if its time is over; called once a second."""
        limits = self._guard.limits
        self._pings = 0
        if self._partial_since is not None and not self.transport.is_reading():
            self._partial_since += 1.0
        elif self._partial_since is not None:
            allowed = limits.read_s + self._partial_bytes / _LEAST_BYTES_PER_S
            if now - self._partial_since > allowed:
                self._cut_off("A message did not arrive in time.")
        self._guard.close_if_unread(self.transport, now)

    def _cut_off(self, why: str) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        log.info("A WebSocket was closed: %s", why)
        self._partial_since = None
        self.conn.fail(CloseCode.POLICY_VIOLATION, why)
        self.handle_parser_exception()
