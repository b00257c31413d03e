"""HTTP/1.1 connections within limits of size, time and number.

uvicorn bounds neither a request's head nor the time it takes, nor the number of connections.
Everything here is checked while bytes arrive, before an application or a key is involved, so the
connection itself writes a refusal, as an error document of the path's protocol. A refused
connection lingers; see ``connection_limits``.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from polyvox.gateway.http.connection_limits import Guard, OpenConnections
from polyvox.gateway.http.errors import retry_headers
from polyvox.protocols.wire_protocol import Protocols, WireProtocol, protocol_at
from polyvox.workflows.errors import ModelError

log = logging.getLogger(__name__)

MOST_HEAD_BYTES = 64 * 1024
"""Of a request line and headers together, of trailers, or of one chunk's extension."""

MOST_HEADERS = 128

MOST_URL_BYTES = 16 * 1024

_FIRST_PROBE_S = 0.01
_LAST_PROBE_S = 0.25
"""The pauses between probes, each twice the one before; see ``eof_received``."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Config(uvicorn.Config):
    """uvicorn's configuration, which every connection gets, with the count of open connections and
    the protocols in which one may be refused."""

    def __init__(
        self, app: Any, open_connections: OpenConnections, protocols: Protocols, **options: Any
    ) -> None:
        super().__init__(app, **options)
        self.open_connections = open_connections
        self.protocols = protocols


class _AnswerTransport:
    """The transport of one answer: ``close`` is called when it was the connection's last."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self.close = close

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connection(HttpToolsProtocol):
    """One connection within limits."""

    config: Config
    _guard: Guard
    _reading_since: float | None = None
    _begun = False
    _in_body = False
    _idle_bytes = 0
    _head_bytes = 0
    _headers_seen = 0
    _fault: ModelError | None = None
    _is_over = False
    """Nothing is answered any more; what still arrives is discarded."""

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reading_since = self.loop.time()
        self._guard = Guard(self.config.open_connections, self.client)
        if self._guard.refusal is not None:
            self._refuse(self._guard.refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._guard.leave()  # the WebSocket counts itself
        super().handle_websocket_upgrade()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection if its client may still wait for the answer.

        A client that has closed and one that has only finished sending look alike until they get
        bytes: the kernel of one that has closed resets the connection. So until the answer begins,
        interim responses are sent, which every client must skip.
        """
        cycle = self.cycle
        if not self._is_answering() or self._is_over or self.pipeline or cycle.more_body:
            return False
        if cycle.response_started or cycle.scope["http_version"] != "1.1":
            return False
        cycle.keep_alive = False
        self._probe(_FIRST_PROBE_S)
        return True

    def _probe(self, pause_s: float) -> None:
        if self.transport.is_closing() or self.cycle.response_started:
            return
        self.transport.write(_CONTINUE)
        self.loop.call_later(pause_s, self._probe, min(2 * pause_s, _LAST_PROBE_S))

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self._guard.has_lingered(size=len(data)):
            self.transport.close()
        if self._is_over:
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
            # The parser is done, so this request is the last; the upgrade it asks for is ignored.
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
        if not self._in_body:  # trailers are ignored
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._reading_since = None
        self._in_body = True
        self._headers_seen = self._head_bytes = 0
        if self.config.open_connections.draining.has_begun and not self._asks_upgrade():
            # As if the client had asked for it: the answer says so, and closes the connection.
            self.headers.append((b"connection", b"close"))
        super().on_headers_complete()

    def _asks_upgrade(self) -> bool:
        return any(name == b"upgrade" for name, _ in self.headers)

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._idle_bytes = 0
        self._begun = self._in_body = False
        self._guard.stop_lingering()
        super().on_message_complete()

    # What goes out

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.transport = _AnswerTransport(self.transport, self._close)  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)

    def _close(self) -> None:
        if self._in_body and self.cycle.response_complete:
            self._end()
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        if self._is_over:
            return
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing() and not self._guard.linger():
            self.transport.close()

    # Its end

    def check(self, now: float) -> None:
        """Close the connection if its time is over; called once a second."""
        limits = self._guard.limits
        if self._guard.has_lingered(checks=1):
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
        self._guard.close_if_unread(self.transport, now)

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _faulty(self, error: ModelError) -> ModelError:
        """Store ``error``: the parser, which it is raised through, replaces it by its own."""
        self._fault = error
        return error

    def _refuse(self, error: ModelError) -> None:
        self._is_over = True
        self._reading_since = None
        if self._is_answering():
            if self.cycle.response_started or not self._in_body:
                # An answer is in progress; nothing may be written into it.
                self.transport.close()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        log.info("A connection was refused: %d %s", error.http_status, error.message)
        url: bytes = getattr(self, "url", b"")
        protocol = protocol_at(self.config.protocols, url.decode("latin-1"), {})
        self.transport.write(_answer(error, protocol))
        self._end()

    def _end(self) -> None:
        """End the connection behind its last answer, and linger."""
        self._is_over = True
        if not self._guard.linger():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()


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
        "timeout",
        f"The request's headers did not arrive within {math.ceil(limit_s)} s. Send them at once, "
        "or raise server.read_timeout_s in polyvox.toml.",
        status=HTTPStatus.REQUEST_TIMEOUT,
    )
