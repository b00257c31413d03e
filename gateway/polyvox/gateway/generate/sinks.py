"""Where the answer of an exchange goes, and the sink for HTTP."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol as Interface

from starlette.types import Receive, Scope, Send

from polyvox.activities.live.channel import RunOutcome
from polyvox.gateway.http.errors import Headers, JsonResponse
from polyvox.gateway.http.slow_clients import LARGE_BYTES, send_large
from polyvox.protocols.header_text import header_list
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def run_headers(run_id: str, losses: Sequence[str]) -> Headers:
    """Return the headers of an answer that name its run and what its provider did not get."""
    names = (b"x-polyvox-run", b"x-request-id", b"request-id")
    headers = [(name, run_id.encode()) for name in names]
    return [*headers, (b"x-polyvox-losses", header_list(losses).encode())] if losses else headers


class Sink:
    """Takes one answer: ``begin``, ``frames`` and ``finish``, or ``whole``, or ``refuse``.

    Each does nothing unless a subclass sends something. ``headers`` describe the run; the sink adds
    the content type and length. Each element of ``frames`` holds whole frames of the protocol's
    stream, or is empty. A method that sends raises OSError if the client has disconnected.
    """

    async def left(self) -> None:
        """Return when the client has disconnected."""

    async def begin(self, headers: Headers) -> None:
        """Begin a stream."""

    async def frames(self, frames: list[bytes]) -> None:
        """Send frames of the stream."""

    async def finish(self, outcome: RunOutcome, frames: list[bytes]) -> None:
        """Send the last frames of the stream: its end or its error."""

    async def whole(self, outcome: RunOutcome, document: dict[str, Json], headers: Headers) -> None:
        """Send the answer as one document."""

    async def refuse(
        self, error: ModelError, status: int, document: dict[str, Json], headers: Headers
    ) -> None:
        """Send an error document; nothing else is sent of the answer."""


class Answer(Interface):
    """Answers a request."""

    async def answer(self, sink: Sink) -> None:
        """Send the answer to ``sink``. Return when it is sent or the client has disconnected."""


class HttpAnswer:
    """An answer as an ASGI response."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        folder: Path = scope["app"].state.runtime.settings.data
        await self._answer.answer(HttpSink(receive, send, folder))


class HttpSink(Sink):
    """Sends an answer over ASGI.

    What a slow client does not take is stored in a file in ``folder``. The values that are given to
    ``finish`` and ``whole`` are released before they are sent.
    """

    def __init__(self, receive: Receive, send: Send, folder: Path | None = None) -> None:
        self._folder = folder
        self._receive = receive
        self._send = send

    async def left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, headers: Headers) -> None:
        headers = [*STREAM_HEADERS, *headers]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def frames(self, frames: list[bytes]) -> None:
        await self._body(frames, more=True)

    async def finish(self, outcome: RunOutcome, frames: list[bytes]) -> None:
        await self._body(frames, more=False)

    async def whole(self, outcome: RunOutcome, document: dict[str, Json], headers: Headers) -> None:
        body = [document]
        del document
        await self._json(200, body.pop(), headers)

    async def refuse(
        self, error: ModelError, status: int, document: dict[str, Json], headers: Headers
    ) -> None:
        await self._json(status, document, headers)

    async def _json(self, status: int, document: dict[str, Json], headers: Headers) -> None:
        response = JsonResponse(document, status)
        del document
        response.raw_headers += headers
        if len(response.body) < LARGE_BYTES:
            await response({"type": "http"}, self._receive, self._send)
            return
        start = {"type": "http.response.start", "status": status, "headers": response.raw_headers}
        await self._send(start)
        body = [bytes(response.body)]
        del response
        await send_large(self._send, body, self._folder)

    async def _body(self, frames: list[bytes], *, more: bool) -> None:
        body = b"".join(frames)
        if more or len(body) < LARGE_BYTES:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})
            return
        held = [body]
        del body
        frames.clear()
        await send_large(self._send, held, self._folder)
