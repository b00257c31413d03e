"""A sink that keeps the answer of an exchange."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from polyvox.activities.live.channel import RunOutcome
from polyvox.gateway.generate.sinks import Sink
from polyvox.gateway.http.errors import Headers
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError


@dataclass
class Sent(Sink):
    """A sink that keeps what it gets. ``on_frames`` is called once, at the first frames."""

    begun: int = 0
    text: bytes = b""
    finished: RunOutcome | None = None
    document: dict[str, Json] | None = None
    refused: tuple[ModelError, int] | None = None
    headers: Headers = field(default_factory=list)
    on_frames: Callable[[], None] = lambda: None
    leaving: asyncio.Event = field(default_factory=asyncio.Event)

    async def left(self) -> None:
        await self.leaving.wait()

    async def begin(self, headers: Headers) -> None:
        self.begun += 1
        self.headers = headers

    async def frames(self, frames: list[bytes]) -> None:
        assert self.begun == 1
        assert self.finished is None
        self.text += b"".join(frames)
        act, self.on_frames = self.on_frames, lambda: None
        act()

    async def finish(self, outcome: RunOutcome, frames: list[bytes]) -> None:
        assert self.begun == 1
        assert self.finished is None
        self.text += b"".join(frames)
        self.finished = outcome

    async def whole(self, outcome: RunOutcome, document: dict[str, Json], headers: Headers) -> None:
        self.finished, self.document, self.headers = outcome, document, headers

    async def refuse(
        self, error: ModelError, status: int, document: dict[str, Json], headers: Headers
    ) -> None:
        assert self.begun == 0
        assert document["error"]["message"].startswith(error.message)
        self.refused, self.headers = (error, status), headers
