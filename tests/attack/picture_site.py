"""An HTTP server on several loopback addresses that counts connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n not really"
HOSTS = ("127.0.0.1", "127.0.0.2", "::1")


@dataclass
class Site:
    """An HTTP server that counts connections and sends given answers."""

    port: int
    heard: list[str] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Say = Callable[[asyncio.StreamWriter, str], Awaitable[bool | None]]


@asynccontextmanager
async def listening(say: Say, hosts: tuple[str, ...] = HOSTS) -> AsyncIterator[Site]:
    """Serve with ``say(writer, target)``, which writes the answer.

    If it returns True, the connection stays open until the client disconnects.
    """
    site = Site(0)
    tasks: set[asyncio.Task[Any] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        site.connections += 1
        site.open += 1
        site.most_open = max(site.most_open, site.open)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            site.heard.append(head.decode("latin-1"))
            if await say(writer, head.split(b" ")[1].decode("latin-1")):
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            site.open -= 1
            writer.close()

    server = await asyncio.start_server(serve, hosts[0], 0)
    site.port = server.sockets[0].getsockname()[1]
    others = [await asyncio.start_server(serve, host, site.port) for host in hosts[1:]]
    try:
        yield site
    finally:
        for each in (server, *others):
            each.close()
        if running_tasks := [task for task in tasks if task is not None]:
            await asyncio.wait(running_tasks)


def answer(body: bytes, *headers: str, status: str = "200 OK", kind: str = "image/png") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


async def say_picture(writer: asyncio.StreamWriter, _target: str) -> None:
    writer.write(answer(PNG))
    await writer.drain()
