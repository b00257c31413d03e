"""A client that is refused while it still sends can read the refusal, within limits."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starlette.responses import PlainTextResponse

from polyvox.gateway.http import connection_limits
from polyvox.gateway.http.serving import listen, serving
from polyvox.worker.settings.file import ServerSettings

MIB = 1024 * 1024
LARGE = 32 * MIB
"""More than the buffers of a loopback connection hold."""

LINGERING = 4
FILES = 232
"""So few that only ``LINGERING`` connections may linger at once."""

REFUSAL = b"The key is unknown."


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    """A server that refuses every request before it reads its body."""
    refuse = PlainTextResponse(REFUSAL, 401)
    listener = listen("127.0.0.1", 0)
    async with serving(refuse, listener, ServerSettings(drain_s=1), files=FILES):
        yield listener.getsockname()[1]


class Sender:
    """A client that sends its request before it reads the answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, size: int, connection: str = "keep-alive") -> None:
        """Send a request's head, and its body as far as the server takes it."""
        await self.begin(size, connection)
        for _ in range(size // MIB):
            self._writer.write(bytes(MIB))
            await self._writer.drain()

    async def begin(self, size: int, connection: str = "keep-alive") -> None:
        head = f"POST / HTTP/1.1\r\nconnection: {connection}\r\ncontent-length: {size}\r\n\r\n"
        self._writer.write(head.encode())
        await self._writer.drain()

    async def answer(self) -> bytes:
        return await self._reader.readuntil(REFUSAL)

    async def end(self) -> bytes:
        """Return all that comes until the server closes."""
        return await self._reader.read()

    def close(self) -> None:
        self._writer.close()


async def connect(port: int) -> Sender:
    return Sender(*await asyncio.open_connection("127.0.0.1", port))


async def test_a_refusal_can_be_read_behind_a_large_body(port: int) -> None:
    """Also by a client that closes its connections after one answer."""
    sender = await connect(port)
    await sender.send(LARGE, "close")
    answer = await sender.end()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer
    assert answer.endswith(REFUSAL)
    sender.close()


async def test_a_connection_is_usable_once_the_refused_body_has_arrived(port: int) -> None:
    sender = await connect(port)
    for _ in range(2):
        await sender.send(LARGE)
        assert (await sender.answer()).startswith(b"HTTP/1.1 401 ")
    sender.close()


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_only_so_many_bytes_are_discarded(
    port: int, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "LINGER_BYTES", MIB)
    sender = await connect(port)
    with pytest.raises(ConnectionError):
        await sender.send(LARGE, connection)
    sender.close()


async def test_a_silent_client_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "LINGER_S", 0)
    sender = await connect(port)
    await sender.begin(LARGE)
    assert (await sender.end()).endswith(REFUSAL)
    sender.close()


async def test_only_so_many_connections_linger(port: int) -> None:
    """One more is closed at once; it can linger again when others have left."""
    lingering = [await connect(port) for _ in range(LINGERING)]
    for sender in lingering:
        await sender.begin(LARGE, "close")
        await sender.answer()
    lingering.append(await connect(port))
    with pytest.raises(ConnectionError):
        await lingering[-1].send(LARGE, "close")
    for sender in lingering:
        sender.close()
    async with asyncio.timeout(30):
        while not await _is_refused(port):
            pass


async def _is_refused(port: int) -> bool:
    sender = await connect(port)
    try:
        await sender.send(LARGE, "close")
        return (await sender.end()).endswith(REFUSAL)
    except ConnectionError:
        return False
    finally:
        sender.close()
