"""The upstream socket: one POST, answered by a stream of server-sent events."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import orjson

from polyvox.activities.provider import Provider
from polyvox.activities.providers.dialect import Rendered
from polyvox.workflows.errors import ModelError

Frame = tuple[str | None, bytes]
"""One server-sent event: its ``event:`` name, if any, and its data."""

_CONNECT_S = 10.0

_ERROR_BODY_BYTES = 64 * 1024
"""How much of an error answer is read: some proxies answer with whole pages."""

_LONGEST_FRAME_BYTES = 64 * 1024 * 1024


class FrameSplitter:
    """Splits a body into server-sent events, wherever the network cut it.

    Lines end in LF, CRLF or CR and nothing else (JSON may hold U+2028). Comments and unknown
    fields are skipped, several ``data:`` lines are joined by LF, a leading BOM is dropped. Format:
    WHATWG HTML, "Server-sent events".
    """

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self._held_cr = False

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the events that ``chunk`` completes."""
        if not self._begun and chunk:
            self._begun = True
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")
        if self._held_cr or b"\r" in chunk:
            chunk = self._with_lf(chunk)
        body = self._rest + chunk if self._rest else chunk
        *blocks, self._rest = body.split(b"\n\n")
        if len(self._rest) > _LONGEST_FRAME_BYTES:
            raise ModelError("bad_stream", "The provider sent an event without an end.")
        return [frame for block in blocks if (frame := _frame(block)) is not None]

    def finish(self) -> list[Frame]:
        """Return the last event if the body ended after one of its lines, not inside it."""
        rest, self._rest = self._rest, b""
        if not rest.endswith(b"\n") and not self._held_cr:
            return []
        frame = _frame(rest)
        return [] if frame is None else [frame]

    def _with_lf(self, chunk: bytes) -> bytes:
        """Return ``chunk`` with LF line ends; a CR at its end may be half a CRLF and waits."""
        if self._held_cr:
            chunk = b"\r" + chunk
        self._held_cr = chunk.endswith(b"\r")
        if self._held_cr:
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _frame(block: bytes) -> Frame | None:
    """Return the event of a block of lines, None if it has no data."""
    name: str | None = None
    data: list[bytes] = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode(errors="replace")
        elif line == b"data":
            data.append(b"")
    if not data:
        return None
    return name, data[0] if len(data) == 1 else b"\n".join(data)


class Answer:
    """An upstream's answer, open: its status, and its body as events or as an error's bytes."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def frames(self) -> AsyncIterator[list[Frame]]:
        """Yield events as they come, those of one read together.

        Raises ModelError("stream_cut") when the connection breaks and ModelError("timeout") when
        nothing comes for the provider's idle limit.
        """
        kind = self.headers.get("content-type", "")
        if "json" in kind or "html" in kind:
            beginning = (await self.error_body())[:200].decode(errors="replace")
            raise ModelError(
                "bad_stream",
                f"The provider answered a streaming request with {kind!r} ({beginning!r}...). "
                "Check the provider's base_url and protocol.",
            )
        splitter = FrameSplitter()
        try:
            async for chunk in self._response.aiter_bytes():
                if frames := splitter.feed(chunk):
                    yield frames
        except httpx.TimeoutException as late:
            raise ModelError("timeout", "The provider fell silent in mid-answer.") from late
        except (httpx.TransportError, httpx.DecodingError) as broken:
            raise ModelError(
                "stream_cut", f"The connection to the provider broke in mid-answer ({broken})."
            ) from broken
        if frames := splitter.finish():
            yield frames

    async def error_body(self) -> bytes:
        """Return the beginning of the body, for an error answer."""
        body = b""
        try:
            async for chunk in self._response.aiter_bytes():
                body += chunk
                if len(body) >= _ERROR_BODY_BYTES:
                    break
        except (httpx.TransportError, httpx.DecodingError):
            return body
        return body[:_ERROR_BODY_BYTES]


class Upstream:
    """One connection pool for all providers. It never retries: Temporal does."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=200),
            follow_redirects=False,
            trust_env=True,
            # A provider that compresses each token costs more than it saves.
            headers={"accept-encoding": "identity", "user-agent": "polyvox"},
        )

    @asynccontextmanager
    async def post(
        self, provider: Provider, request: Rendered, authorization: Mapping[str, str]
    ) -> AsyncIterator[Answer]:
        """Post ``request``; the socket is closed when the context is left.

        Raises ModelError("unreachable") or ModelError("timeout") without an answer.
        """
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream",
            **request.headers,
            **provider.headers,
            **authorization,
        }
        url = f"{provider.base_url.rstrip('/')}/{request.path}"
        timeout = httpx.Timeout(provider.timeout_s, connect=_CONNECT_S)
        outgoing = self._client.build_request(
            "POST", url, headers=headers, content=orjson.dumps(request.body), timeout=timeout
        )
        try:
            response = await self._client.send(outgoing, stream=True)
        except httpx.TimeoutException as late:
            raise ModelError(
                "timeout", f"Provider {provider.name!r} did not answer in time ({url})."
            ) from late
        except (httpx.TransportError, httpx.InvalidURL) as broken:
            raise ModelError(
                "unreachable",
                f"Provider {provider.name!r} could not be reached at {url}: {broken}. Check its "
                "base_url and that it is running.",
            ) from broken
        try:
            yield Answer(response)
        finally:
            await response.aclose()

    async def close(self) -> None:
        await self._client.aclose()
