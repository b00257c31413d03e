"""``python -m tests.crash.provider``: a provider that counts requests and holds at named points.

It runs as a process of its own, so that it can be killed, and appends what happens to a file of
JSON lines that outlives it. A hold applies to the first request of a model (with a given number of
tool results); all later requests are answered at once. Each answer has a connection of its own, so
the end of the connection tells when the other side has read the answer or has died.

The second port accepts connections and does not read from them until it is released: a request
that was perhaps sent, but never received.
"""

import argparse
import asyncio
import hashlib
import json
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.answers import answer, tool_results

ESTABLISHED = 1
"""The state in ``tcp_info`` of a connection whose other side has not closed it."""

TOKENS_BEFORE_MID = 2


@dataclass
class Provider:
    """The provider's state. ``holds`` are points and tool results by model."""

    record: Path
    holds: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)
    is_open: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    number: int = 0
    victim: int = 0
    stop_after: int = 0
    stop_at: str = ""

    def log(self, what: str, number: int, **facts: Any) -> None:
        if what == self.stop_at:
            self._stop_victim()
        line = json.dumps({"at": time.time(), "what": what, "number": number, **facts})
        with self.record.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    async def control(self, document: dict[str, Any]) -> None:
        """Set holds, release the models of ``release``, or ``open`` everything.

        ``stop`` is a process to be stopped with SIGSTOP at the event number ``after`` from now on:
        a "request" that was received, or an answer that was "closed", which is when it was read.
        """
        if stopping := document.get("stop"):
            self.victim, self.stop_after = stopping["pid"], stopping["after"]
            self.stop_at = stopping["at"]
        async with self.changed:
            self.holds |= {model: tuple(hold) for model, hold in document.get("hold", {}).items()}
            self.released |= set(document.get("release", ()))
            self.is_open = self.is_open or bool(document.get("open"))
            self.changed.notify_all()

    async def until_released(self, model: str) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.is_open or model in self.released)

    def _stop_victim(self) -> None:
        if not self.victim:
            return
        self.stop_after -= 1
        if self.stop_after <= 0:
            os.kill(self.victim, signal.SIGSTOP)
            self.victim = 0
            self.log("stopped", 0)

    def hold_of(self, model: str, results: int) -> str | None:
        """Return the point at which this request is held, and forget the hold."""
        point, wanted = self.holds.get(model, (None, None))
        if self.is_open or point is None or wanted not in (None, results):
            return None
        del self.holds[model]
        return point

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        path = lines[0].split(" ")[1]
        if path == "/control":
            await self.control(body)
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await writer.drain()
            return
        await self._answer("chat" if "chat" in path else "messages", body, reader, writer)

    async def _answer(
        self,
        protocol: str,
        body: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.number += 1
        number, model = self.number, str(body["model"])
        results = tool_results(body)
        digest = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()[:16]
        # If this process was slow, the other side may have died after it had sent the request.
        late = _state(writer.get_extra_info("socket")) != ESTABLISHED
        self.log("request", number, model=model, digest=digest, results=results, late=late)
        point = self.hold_of(model, results)
        closing = asyncio.create_task(reader.read())
        writing = asyncio.create_task(self._write(protocol, body, point, number, writer))
        await asyncio.wait((closing, writing), return_when=asyncio.FIRST_COMPLETED)
        if writing.done() and writing.exception() is None:
            self.log("answered", number)
            await asyncio.wait((closing,))
            closing.exception()
            self.log("closed", number)
            return
        writing.cancel()
        closing.cancel()
        await asyncio.wait((closing, writing))
        self.log("cut", number)

    async def _write(
        self,
        protocol: str,
        body: dict[str, Any],
        point: str | None,
        number: int,
        writer: asyncio.StreamWriter,
    ) -> None:
        model = str(body["model"])
        frames = answer(protocol, body)

        async def held(here: str) -> None:
            if point == here:
                self.log("held", number, point=point)
                await self.until_released(model)

        async def send(parts: list[bytes]) -> None:
            for part in parts:
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()

        await held("first")
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        await send([*frames.head, *frames.tokens[:TOKENS_BEFORE_MID]])
        await held("mid")
        await send(frames.tokens[TOKENS_BEFORE_MID:-1])
        await held("end")
        await send(frames.tokens[TOKENS_BEFORE_MID:][-1:])
        await held("late")
        await send(frames.tail)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def leave_unread(self, listener: socket.socket) -> None:
        """Accept connections and read from them only after the release, if they still exist."""
        loop = asyncio.get_running_loop()
        waiting: set[asyncio.Task[None]] = set()
        while True:
            connection, _ = await loop.sock_accept(listener)
            if not self.is_open:
                self.log("connected", 0)
            task = asyncio.create_task(self._read_later(connection))
            waiting.add(task)
            task.add_done_callback(waiting.discard)

    async def _read_later(self, connection: socket.socket) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.is_open)
        if _state(connection) != ESTABLISHED:
            connection.close()
            return
        reader, writer = await asyncio.open_connection(sock=connection)
        await self.serve(reader, writer)


def _state(connection: Any) -> int:
    return int(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0])


async def main(port: int, unread_port: int, record: Path, *, is_open: bool) -> None:
    provider = Provider(record, is_open=is_open)
    listener = socket.create_server(("127.0.0.1", unread_port), backlog=512)
    listener.setblocking(False)
    unread = asyncio.create_task(provider.leave_unread(listener))
    server = await asyncio.start_server(provider.serve, "127.0.0.1", port, backlog=512)
    async with server:
        provider.log("started", 0)
        await asyncio.gather(unread, server.serve_forever())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("unread_port", type=int)
    parser.add_argument("record", type=Path)
    parser.add_argument("--open", action="store_true")
    given = parser.parse_args()
    asyncio.run(main(given.port, given.unread_port, given.record, is_open=given.open))
