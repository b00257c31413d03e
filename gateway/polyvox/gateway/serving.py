"""An ASGI application on a socket, inside a loop that has other things to do."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


class PortTaken(OSError):
    """The address cannot be listened on; the message says what to do."""


class Server(uvicorn.Server):
    """A uvicorn server that says when it accepts and leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepts = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepts.set()

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
            f"Cannot listen on {host}:{port} ({why}). Choose another with --port, or "
            "--port 0 for any free one."
        ) from error
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def serving(
    app: ASGIApp, listener: socket.socket, *, drain_s: float, max_body_mib: int
) -> AsyncIterator[None]:
    """Serve ``app`` on ``listener`` while the context is open.

    On leaving, running responses get ``drain_s`` seconds to end and are cut then. A message over a
    WebSocket may be as large as the body of a request, ``max_body_mib``.
    """
    server = Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=max_body_mib * 1024 * 1024,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(drain_s)),
        )
    )
    running = asyncio.create_task(server.serve(sockets=[listener]), name="gateway")
    try:
        await server.accepts.wait()
        yield
    finally:
        server.should_exit = True
        await running
