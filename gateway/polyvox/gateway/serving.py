"""An ASGI application on a socket, inside a loop that has other things to do."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


class PortTaken(OSError):
    """The address cannot be listened on; the message says what to do."""


class _Server(uvicorn.Server):
    """A uvicorn server that says when it serves and leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serves = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serves.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int, *, drain_s: float) -> AsyncIterator[int]:
    """Serve ``app`` while the context is open; yield the port (``port`` 0 takes a free one).

    On leaving, running responses get ``drain_s`` seconds to end and are cut then. Raises PortTaken.
    """
    listener = _listen(host, port)
    server = _Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(drain_s)),
        )
    )
    running = asyncio.create_task(server.serve(sockets=[listener]), name=f"serving {host}")
    try:
        await server.serves.wait()
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"Cannot listen on {host}:{port} ({error.strerror}). Choose another with --port, or "
            "--port 0 for any free one."
        ) from error
    return listener
