"""Background responses: runs that continue without their client, and the frames of their streams.

The sink of such a run is its Recording. It records the stream, so that clients can follow it,
disconnect and resume: a frame's index is its sequence number. Frames are stored a few times a
second, and only stored frames are sent, so a crash cannot take back what a client has seen: the run
continues in the engine, and another Recording completes its stream.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from polyvox.activities.live.channel import RunOutcome
from polyvox.activities.storage.responses import StoredResponse
from polyvox.gateway.generate.caller import Caller
from polyvox.gateway.generate.exchange import Exchange
from polyvox.gateway.generate.joining import JoinedExchange
from polyvox.gateway.generate.sinks import Sink
from polyvox.gateway.responses.stored_encoder import (
    Keep,
    StoredResponseEncoder,
    StoredStreamEncoder,
)
from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses.include import EVERYTHING, Included
from polyvox.protocols.responses.provider import request as provider
from polyvox.protocols.sse import FrameSplitter
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

KEEP_ALIVE = b": keep-alive\n\n"

_BATCH_S = 0.1
"""How long frames are collected before they are stored and sent."""


class Recording(Sink):
    """A background response whose run is read by this process.

    ``shown`` are the frames that another process stored before it ended, None if this process
    starts the run.
    """

    def __init__(
        self,
        runtime: Runtime,
        ask: Ask,
        caller: Caller,
        stored: StoredResponse,
        shown: bytes | None = None,
    ) -> None:
        self.stored = stored
        self._store = runtime.responses
        self._frames: list[bytes] = []
        self._shown = 0
        self._over = False
        self._added = asyncio.Event()
        self._news = asyncio.Event()
        self._cancelled = asyncio.Event()
        self._encoder = _resumed(ask, stored, shown or b"", self._keep)
        exchange_type = Exchange if shown is None else JoinedExchange
        self._exchange = exchange_type(
            runtime,
            StoredResponseEncoder(self._keep, self._encoder),
            ask,
            caller,
            run_id=stored.run_id,
            digest=stored.conversation,
            lasting=True,
        )
        if shown:
            self._frames = split_frames(shown)
            self._shown = len(self._frames)
            if isinstance(self._exchange, JoinedExchange):
                # A new attempt may say something else than the frames do.
                self._exchange.from_reply = b"\nevent: response.output_" in shown
        elif stored.stream:
            self._add(self._encoder.keep_alive())

    @property
    def started(self) -> asyncio.Event:
        """Set when the engine has the run."""
        return self._exchange.started

    @property
    def document(self) -> dict[str, Json]:
        """The response object as it is now."""
        return self._encoder.response

    async def run(self) -> None:
        """Read the run to its end. Cancelling this task does not cancel the run."""
        showing = asyncio.create_task(self._store_often())
        try:
            await self._exchange.answer(self)
            if self.stored.document is None:
                stopped = ModelError("cancelled", "The response was cancelled.")
                self._add(self._encoder.fail(self._exchange.refused or stopped))
        finally:
            showing.cancel()
            try:
                if self.stored.document is not None:
                    # The frames first: a stored end without them would truncate the stream.
                    self._keep_frames(0)
                    self._store.keep(self.stored)
                    await self._store.flush()
                    self._shown = len(self._frames)
            finally:
                # After the last frames are visible: a reader stops when both are true.
                self._over = True
                self._notify()

    def cancel(self) -> None:
        """Act as if the client had disconnected, which cancels the run."""
        self._cancelled.set()

    async def follow(
        self, after: int, keep_alive_s: float, shows: Included
    ) -> AsyncIterator[bytes]:
        """Yield the frames behind sequence number ``after``, new ones as they arrive."""
        place = after + 1
        while True:
            if place < self._shown:
                frames = self._frames[place : self._shown]
                place = self._shown
                yield b"".join([shows.frame(frame) for frame in frames])
            elif self._over:
                return
            else:
                try:
                    await asyncio.wait_for(self._news.wait(), keep_alive_s)
                except TimeoutError:
                    yield KEEP_ALIVE

    async def left(self) -> None:
        await self._cancelled.wait()

    async def frames(self, frames: list[bytes]) -> None:
        self._add(b"".join(frames))

    async def finish(self, outcome: RunOutcome, frames: list[bytes]) -> None:
        self._add(b"".join(frames))

    def _keep(self, document: dict[str, Json]) -> None:
        self.stored = replace(self.stored, document=document)

    def _add(self, frames: bytes) -> None:
        if self.stored.stream:
            self._frames += split_frames(frames)
            self._added.set()

    def _keep_frames(self, first: int) -> None:
        if frames := b"".join(self._frames[first:]):
            self._store.keep_frames(self.stored.response_id, first, frames)

    async def _store_often(self) -> None:
        while True:
            await self._added.wait()
            self._added.clear()
            stored = len(self._frames)
            self._keep_frames(self._shown)
            await self._store.flush()
            self._shown = stored
            self._notify()
            await asyncio.sleep(_BATCH_S)

    def _notify(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def split_frames(stream: bytes) -> list[bytes]:
    """Split whole frames; each stays as it was sent."""
    return [frame + b"\n\n" for frame in stream.split(b"\n\n") if frame]


def _resumed(ask: Ask, stored: StoredResponse, shown: bytes, keep: Keep) -> StoredStreamEncoder:
    """Return an encoder that continues after the frames ``shown`` by another process.

    They are decoded like a provider's stream and encoded again; the result is discarded. The stored
    stream has every optional member.
    """
    writing = StoredStreamEncoder(
        ask, run_id=stored.run_id, created=stored.created, keep=keep, shows=EVERYTHING
    )
    if shown:
        writing.keep_alive()
        decoder = provider.decoder()
        for name, data in FrameSplitter().feed(shown):
            for event in decoder.feed(name, data):
                writing.feed(event)
        writing.number_from(len(split_frames(shown)))
    return writing
