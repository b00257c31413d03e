"""Background responses: a run whose client may leave, and the frames of its stream.

The sink of such a run is its Recording. It keeps the stream, so that others can read along, break
off and come back: a frame's place is its sequence number. Frames go to the store a few times a
second, and only what is kept there is shown. So nobody has seen what a crash can take back: the run
goes on in the engine, and what was shown is continued from the Reply (``resumed``).
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from polyvox.activities.live.relay import RunOutcome
from polyvox.activities.storage.responses import StoredResponse
from polyvox.gateway.generate.exchange import Caller, Exchange
from polyvox.gateway.generate.sinks import Sink
from polyvox.gateway.responses.stored_encoder import (
    Keep,
    StoredResponseEncoder,
    StoredStreamEncoder,
)
from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses import provider_request as provider
from polyvox.protocols.responses.include import EVERYTHING, Included
from polyvox.protocols.sse import FrameSplitter
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

KEEP_ALIVE = b": keep-alive\n\n"

_BATCH_S = 0.1
"""How long frames are gathered before they are kept and shown."""


class Recording(Sink):
    """A background response whose run is read by this process."""

    def __init__(self, runtime: Runtime, ask: Ask, caller: Caller, kept: StoredResponse) -> None:
        self.kept = kept
        self._store = runtime.responses
        self._frames: list[bytes] = []
        self._shown = 0
        self._over = False
        self._added = asyncio.Event()
        self._news = asyncio.Event()
        self._cancelled = asyncio.Event()
        self._encoder = _writing_all(ask, kept, self._keep)
        self._exchange = Exchange(
            runtime,
            StoredResponseEncoder(self._keep, self._encoder),
            ask,
            caller,
            run_id=kept.run_id,
            digest=kept.conversation,
            lasting=True,
        )
        if kept.stream:
            self._add(self._encoder.keep_alive())

    @property
    def document(self) -> dict[str, Json]:
        """The response object as it is now."""
        return self._encoder.response

    async def run(self) -> None:
        """Read the run to its end. Cancelling this task leaves the run alone."""
        showing = asyncio.create_task(self._show_often())
        try:
            await self._exchange.answer(self)
            if self.kept.document is None:
                stopped = ModelError("cancelled", "The response was cancelled.")
                self._add(self._encoder.fail(self._exchange.refused or stopped))
        finally:
            showing.cancel()
            try:
                if self.kept.document is not None:
                    # The frames first: a stored end without them would cut the stream off.
                    self._keep_frames(0)
                    self._store.keep(self.kept)
                    await self._store.flush()
                    self._shown = len(self._frames)
            finally:
                # Not before the last frames are shown: a reader stops where both are true.
                self._over = True
                self._tell()

    def cancel(self) -> None:
        """Let the client leave: the run is ended and so is its spending."""
        self._cancelled.set()

    async def follow(
        self, after: int, keep_alive_s: float, shows: Included
    ) -> AsyncIterator[bytes]:
        """Yield the frames behind sequence number ``after``, those to come as they come."""
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
        self.kept = replace(self.kept, document=document)

    def _add(self, frames: bytes) -> None:
        if self.kept.stream:
            self._frames += split_frames(frames)
            self._added.set()

    def _keep_frames(self, first: int) -> None:
        if frames := b"".join(self._frames[first:]):
            self._store.keep_frames(self.kept.response_id, first, frames)

    async def _show_often(self) -> None:
        while True:
            await self._added.wait()
            self._added.clear()
            kept = len(self._frames)
            self._keep_frames(self._shown)
            await self._store.flush()
            self._shown = kept
            self._tell()
            await asyncio.sleep(_BATCH_S)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _writing_all(ask: Ask, kept: StoredResponse, keep: Keep) -> StoredStreamEncoder:
    """Return an encoder of what is kept: what its readers asked to see is not all there is."""
    return StoredStreamEncoder(
        ask, run_id=kept.run_id, created=kept.created, keep=keep, shows=EVERYTHING
    )


def split_frames(stream: bytes) -> list[bytes]:
    """Split whole frames; each is as it was sent."""
    return [frame + b"\n\n" for frame in stream.split(b"\n\n") if frame]


def resumed(ask: Ask, kept: StoredResponse, shown: bytes, keep: Keep) -> StoredStreamEncoder:
    """Return an encoder that goes on behind the frames ``shown`` by another process.

    What they say is read as a provider's stream is, and written again to nobody.
    """
    writing = _writing_all(ask, kept, keep)
    if shown:
        writing.keep_alive()
        decoder = provider.decoder()
        for name, data in FrameSplitter().feed(shown):
            for event in decoder.feed(name, data):
                writing.feed(event)
        writing.number_from(len(split_frames(shown)))
    return writing
