"""Run the simulator inside a running event loop, on a socket of its own."""

import asyncio
from typing import cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from polyvox.gateway.http.serving import Server, listen
from polyvox.gateway.simulator.playback import CUT
from polyvox.gateway.simulator.server import create_simulator
from polyvox.protocols.table import PROTOCOLS
from polyvox.protocols.wire_protocol import Protocols


class _CuttingProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose application can close the connection in the middle of an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = cast(ASGIApp, self.app)

        async def with_cut(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[CUT] = transport.close
            await app(scope, receive, send)

        self.app = with_cut


class Listening:
    """A running simulator on ``port``. Setting ``closing`` cuts its streams."""

    def __init__(
        self, closing: asyncio.Event, server: Server, task: asyncio.Task[None], host: str, port: int
    ) -> None:
        self.host = host
        self.port = port
        self._closing = closing
        self._server = server
        self._task = task

    @property
    def url(self) -> str:
        """The root URL: OpenAI clients append ``/v1``, Anthropic clients use it unchanged."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def stop(self) -> None:
        """Cut the open streams, close the port and wait for the end. May be called twice."""
        self._closing.set()
        self._server.should_exit = True
        await self._task


async def serve(
    host: str = "127.0.0.1", port: int = 0, *, protocols: Protocols = PROTOCOLS
) -> Listening:
    """Start a simulator in this loop and return once it accepts; port 0 picks a free one.

    Raises PortTaken, an OSError, if the address is not available.
    """
    listener = listen(host, port)
    app = create_simulator(host, protocols)
    server = Server(
        uvicorn.Config(
            app,
            http=_CuttingProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]), name="simulator")
    accepting = asyncio.create_task(server.accepts.wait())
    await asyncio.wait({task, accepting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        accepting.cancel()
        await task
    return Listening(app.state.simulation.closing, server, task, host, listener.getsockname()[1])
