"""HTTP/1.1 connections that an impatient, endless or silent client cannot wear out.

uvicorn bounds neither a request's head nor the time it takes, nor how many connections there are.
Everything here is checked while bytes come in, before an application or even a key is involved, so
a refusal is written by the connection itself, as an error document of the path's protocol.

A connection that is refused, or answered before its body was read, is not closed at once: the
kernel would then throw away the answer together with what the client still sends. It reads on for
``LINGER_S``, without keeping anything.
"""

import asyncio
import logging
import math
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httptools
import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from polyvox.gateway.http.errors import retry_headers
from polyvox.protocols.wire_protocol import Protocols, WireProtocol, protocol_at
from polyvox.workflows.errors import ModelError

log = logging.getLogger(__name__)

MOST_HEAD_BYTES = 64 * 1024
"""Of a request line and headers together, of trailers, or of one chunk's extension."""

MOST_HEADERS = 128

MOST_URL_BYTES = 16 * 1024

LINGER_S = 5.0

_TAKEN_BYTES = 4096
"""A reader that takes less than this in ``write_s`` takes nothing."""

_PROBE_S = 0.25
"""How soon the second probe follows the first; see ``eof_received``."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """``read_s`` bounds a request's head, ``write_s`` the patience with a reader that takes
    nothing; the others count connections, of one address and in all."""

    read_s: float
    write_s: float
    per_address: int
    in_all: int


class Doors:
    """Counts the connections that are open, by address."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: Counter[str] = Counter()
        self._count = 0

    def enter(self, address: str) -> ModelError | None:
        """Count a connection, and return why it cannot be served, if it cannot."""
        self._open[address] += 1
        self._count += 1
        if self._count > self.limits.in_all:
            return ModelError(
                "overloaded",
                f"The server has {self.limits.in_all} open connections, as many as its limit of "
                "open files allows. Try again in a moment.",
            )
        if self._open[address] > self.limits.per_address:
            return ModelError(
                "rate_limit",
                f"Your address already has {self.limits.per_address} open connections. "
                "Close some, or raise server.max_connections_per_address in polyvox.toml.",
            )
        return None

    def leave(self, address: str) -> None:
        self._count -= 1
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class Config(uvicorn.Config):
    """uvicorn's configuration, which each connection is made with, the doors it came by, and the
    protocols in which it may be refused."""

    def __init__(self, app: Any, doors: Doors, protocols: Protocols, **options: Any) -> None:
        super().__init__(app, **options)
        self.doors = doors
        self.protocols = protocols


class Reader:
    """Whether a client takes what is sent to it."""

    def __init__(self) -> None:
        self._left = 0
        self._since = 0.0

    def is_stuck(self, transport: asyncio.Transport, now: float, limit_s: float) -> bool:
        """Return True once next to nothing was taken for ``limit_s``, although more waits."""
        left = transport.get_write_buffer_size()
        if not left or left > self._left or left <= self._left - _TAKEN_BYTES:
            self._left, self._since = left, now
            return False
        return now - self._since > limit_s


class Connection(HttpToolsProtocol):
    """One connection within limits."""

    config: Config

    def __init__(
        self, config: Config, server_state: ServerState, app_state: Any, **more: Any
    ) -> None:
        super().__init__(config, server_state, app_state, **more)
        self._doors = config.doors
        self._address: str | None = None
        self._reader = Reader()
        self._reading_since: float | None = None
        self._begun = False
        self._in_body = False
        self._idle_bytes = 0
        self._head_bytes = 0
        self._headers_seen = 0
        self._refusal: ModelError | None = None
        self._fault: ModelError | None = None
        self._close_at: float | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reading_since = self.loop.time()
        self._address = self.client[0] if self.client else ""
        refusal = self._doors.enter(self._address)
        if refusal is not None:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._address is not None:
            self._doors.leave(self._address)
            self._address = None
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        if self._address is not None:  # the WebSocket counts itself
            self._doors.leave(self._address)
            self._address = None
        super().handle_websocket_upgrade()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection if its client may still wait for the answer.

        A client that closes and one that has only said all it has to say look alike. They differ in
        what they do with bytes: who has closed resets the connection, which the next write shows.
        So until the answer begins, interim responses are sent, which every client must skip.
        """
        cycle = self.cycle
        if not self._is_answering() or self._refusal or self.pipeline or cycle.more_body:
            return False
        if cycle.response_started or cycle.scope["http_version"] != "1.1":
            return False
        cycle.keep_alive = False
        self._probe()
        return True

    def _probe(self) -> None:
        if self.transport.is_closing() or self.cycle.response_started:
            return
        self.transport.write(_CONTINUE)
        self.loop.call_later(_PROBE_S, self._probe)

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        if self._reading_since is None and not self._in_body:
            self._reading_since = self.loop.time()
        self._idle_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return
            # It is answered as if it had not asked for another protocol, once: the parser is done.
            if self._is_answering():
                self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(self._fault or _malformed())
            return
        if self._idle_bytes > MOST_HEAD_BYTES:
            self._refuse(_head_too_large())

    def _should_upgrade(self) -> bool:
        return self.scope["method"] == "GET" and super()._should_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun = True
        self._head_bytes = self._headers_seen = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MOST_URL_BYTES:
            raise self._faulty(_url_too_long())

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_seen += 1
        self._head_bytes += len(name) + len(value)
        if self._headers_seen > MOST_HEADERS or self._head_bytes > MOST_HEAD_BYTES:
            raise self._faulty(_head_too_large())
        if not self._in_body:  # a trailer says nothing that is asked for
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._reading_since = None
        self._in_body = True
        self._headers_seen = self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._idle_bytes = 0
        self._begun = self._in_body = False
        self._close_at = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            self._close_at = self.loop.time() + LINGER_S

    # Its end

    def check(self, now: float) -> None:
        """Close the connection if its time is over; called once a second."""
        limits = self._doors.limits
        if self._close_at is not None and now > self._close_at:
            self.transport.close()
        elif (
            self._reading_since is not None
            and now - self._reading_since > limits.read_s
            and not self._is_answering()
        ):
            if self._begun:
                self._refuse(_head_too_slow(limits.read_s))
            else:
                self.transport.close()
        if self._reader.is_stuck(self.transport, now, limits.write_s):
            log.info(
                "A client read nothing of its answer for %g s; its connection was closed.",
                limits.write_s,
            )
            self.transport.abort()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _faulty(self, error: ModelError) -> ModelError:
        """Remember ``error``: the parser, which it is raised through, tells only that it failed."""
        self._fault = error
        return error

    def _refuse(self, error: ModelError) -> None:
        self._refusal = error
        self._reading_since = None
        if self._is_answering():
            if self.cycle.response_started or not self._in_body:
                # Nothing may be written into an answer that is under way.
                self.transport.close()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        log.info("A connection was refused: %d %s", error.http_status, error.message)
        self.transport.write(_answer(error, self._spoken()))
        self._close_at = self.loop.time() + LINGER_S
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _spoken(self) -> WireProtocol:
        url: bytes = getattr(self, "url", b"")
        return protocol_at(self.config.protocols, url.decode("latin-1"), {})


def _answer(error: ModelError, protocol: WireProtocol) -> bytes:
    status, document = protocol.answers.render_error(error, None)
    body = orjson.dumps(document)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *retry_headers(error, status),
    ]
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return line + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n" + body


def _malformed() -> ModelError:
    return ModelError("invalid_request", "This is not a valid HTTP/1.1 request. Check your client.")


def _head_too_large() -> ModelError:
    return ModelError(
        "invalid_request",
        f"The request's headers are too large. Send at most {MOST_HEADERS} of them, of "
        f"{MOST_HEAD_BYTES // 1024} KiB together.",
        status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    )


def _url_too_long() -> ModelError:
    return ModelError(
        "invalid_request",
        f"The request's URL is longer than {MOST_URL_BYTES // 1024} KiB. Send long values in the "
        "body.",
        status=HTTPStatus.REQUEST_URI_TOO_LONG,
    )


def _head_too_slow(limit_s: float) -> ModelError:
    return ModelError(
        "invalid_request",
        f"The request's headers did not arrive within {math.ceil(limit_s)} s. Send them at once, "
        "or raise server.read_timeout_s in polyvox.toml.",
        status=HTTPStatus.REQUEST_TIMEOUT,
    )
