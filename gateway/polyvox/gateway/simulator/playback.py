"""The HTTP response that sends frames until they end, the client leaves or the server stops."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from starlette.types import Message, Receive, Scope, Send

from polyvox.gateway.simulator.stream import Cut
from polyvox.gateway.simulator.tally import Tally

CUT = "polyvox.cut"
"""The ASGI extension by which a server lets an application close its connection: a function."""

_LONGEST_CLOSE_S = 5.0


class Playback:
    """An ASGI response made of ``frames``; empty frames are skipped.

    With ``eager``, the headers are sent before the first frame is ready. ``closing`` is set when
    the server stops, and cuts the response.
    """

    def __init__(
        self,
        frames: AsyncIterator[bytes],
        *,
        model: str,
        tally: Tally,
        closing: asyncio.Event,
        headers: Mapping[str, str],
        eager: bool = True,
    ) -> None:
        self._frames = frames
        self._model = model
        self._tally = tally
        self._closing = closing
        self._head: Message = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        self._eager = eager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._tally.open_streams += 1
        player = asyncio.create_task(self._play(send))
        leaving = asyncio.create_task(_disconnected(receive))
        stopping = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({player, leaving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not player.done() and leaving.done():
                self._tally.disconnects[self._model] += 1
            elif not player.done() or isinstance(player.exception(), Cut):
                await _cut(scope, leaving)
            else:
                await player
        finally:
            self._tally.open_streams -= 1
            for task in (player, leaving, stopping):
                task.cancel()
            await asyncio.gather(player, leaving, stopping, return_exceptions=True)

    async def _play(self, send: Send) -> None:
        if self._eager:
            await send(self._head)
        started = self._eager
        async for frame in self._frames:
            if not started:
                await send(self._head)
                started = True
            if frame:
                self._tally.bytes_sent += len(frame)
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut(scope: Scope, leaving: asyncio.Task[None]) -> None:
    """Close the connection in mid-answer, and wait until the server has noticed."""
    close = scope.get("extensions", {}).get(CUT)
    if close is None:
        # Under a server without the extension, an exception ends the connection the same way.
        raise ConnectionAbortedError("The model name asks to cut the answer.")
    close()
    await asyncio.wait({leaving}, timeout=_LONGEST_CLOSE_S)
