"""Serves an ASGI application on a socket, inside an event loop that has other tasks too."""

import asyncio
import contextlib
import math
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from polyvox.gateway.http.connection_limits import Limits, OpenConnections
from polyvox.gateway.http.connections import Config, Connection
from polyvox.gateway.http.draining import Draining
from polyvox.gateway.http.websocket_connection import WebSocketConnection
from polyvox.protocols.table import PROTOCOLS
from polyvox.protocols.wire_protocol import Protocols
from polyvox.worker.settings.file import ServerSettings

_MOST_FILES = 65_536
"""A higher limit would slow down child processes that close every possible descriptor."""

_OWN_FILES = 200
"""Databases, logs, the engine's connections."""

FEW_FILES = 4096

_CUT_S = 3.0
"""How long responses that were cut off may take to send their last bytes."""

_TICKS_PER_CHECK = 10
"""uvicorn ticks ten times a second."""


class PortTaken(OSError):
    """The server cannot listen on the address; the message says what to do."""


class Server(uvicorn.Server):
    """A uvicorn server that reports when it accepts, and handles no signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepts = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepts.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_PER_CHECK == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection | WebSocketConnection):
                    connection.check(now)
        return await super().on_tick(counter)

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; ``port`` 0 takes a free one. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0]
        raise PortTaken(
            f"Cannot listen on {host}:{port} ({why}). Choose another port with --port, or "
            "--port 0 for any free one."
        ) from error
    listener.setblocking(False)
    return listener


def raise_file_limit() -> int:
    """Raise this process's limit of open files as far as allowed, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return _MOST_FILES if soft == resource.RLIM_INFINITY else soft


def most_connections(files: int) -> int:
    """Return how many connections ``files`` allow: each may need another one to a provider."""
    return max(16, (files - _OWN_FILES) // 2)


@asynccontextmanager
async def serving(
    app: ASGIApp,
    listener: socket.socket,
    settings: ServerSettings,
    *,
    files: int,
    protocols: Protocols = PROTOCOLS,
    draining: Draining | None = None,
    stop: Callable[[], None] = lambda: None,
    cut_off: Callable[[], None] = lambda: None,
) -> AsyncIterator[None]:
    """Serve ``app`` on ``listener`` while the context is open, with at most ``files`` open files.

    A connection is refused in the one of ``protocols`` that its path belongs to. On exit, requests
    are served for ``drain_delay_s`` more (``draining``). Then ``stop`` is called, running responses
    get ``drain_s`` seconds to end, and ``cut_off`` is called to end the others. Those that then do
    not end in time are cancelled.
    """
    draining = draining or Draining()
    limits = Limits(
        read_s=settings.read_timeout_s,
        write_s=settings.write_timeout_s,
        per_address=settings.max_connections_per_address,
        in_all=most_connections(files),
    )
    server = Server(
        Config(
            app,
            OpenConnections(limits, draining),
            protocols,
            http=Connection,
            ws=WebSocketConnection,
            # Not negotiated: decompressing a whole message out of a few KiB blocks the event loop.
            ws_per_message_deflate=False,
            ws_max_size=settings.max_body_mib * 1024 * 1024,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=math.ceil(settings.drain_s + _CUT_S),
        )
    )
    running = asyncio.create_task(server.serve(sockets=[listener]), name="gateway")
    try:
        await server.accepts.wait()
        yield
        await draining.begin(settings.drain_delay_s)
    finally:
        server.should_exit = True
        stop()
        cutting = asyncio.get_running_loop().call_later(settings.drain_s, cut_off)
        await running
        cutting.cancel()
