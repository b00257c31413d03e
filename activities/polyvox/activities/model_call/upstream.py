"""HTTP requests to providers: one POST whose response is a stream.

The protocol decides where an answer ends, not the connection: once the decoder has the answer, it
does not matter whether the body is terminated, breaks off or stays open.

Uses aiohttp and not httpx, because reading a token takes a quarter of the CPU (docs/decisions).
"""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson

from polyvox.activities.failures.base_urls import shown
from polyvox.activities.model_call.provider import Provider
from polyvox.activities.model_call.redaction import Redaction, Secrets
from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.decoding.body import Body
from polyvox.protocols.decoding.exact_objects import dump_json
from polyvox.protocols.decoding.json_events import remedy
from polyvox.protocols.header_text import header_value
from polyvox.protocols.provider_side import Decoder, Rendered
from polyvox.protocols.sse import Frame
from polyvox.workflows.errors import ModelError

ParseError = Callable[[int, Mapping[str, str], bytes], ModelError]

_CONNECT_S = 10.0

_HEADER_BYTES = 8192

_BEGINNING_BYTES = 64 * 1024
"""The most that is read of an error response: some proxies send whole pages."""

_REST_S = 2.0
"""How long usage may follow a complete answer, and anything a document that is complete."""

_DRAIN_S = 1.0
_DRAIN_BYTES = 64 * 1024
"""What is read after the end of an answer, so that its connection can be used again."""


class Answer:
    """An open response of a provider: its status and headers, and its body as it arrives.

    The secrets of ``redaction`` are replaced in headers and body.
    """

    def __init__(self, response: aiohttp.ClientResponse, redaction: Redaction) -> None:
        self._response = response
        self._redaction = redaction
        self._redacted = redaction.byte_stream() if redaction else None
        self._broken: Exception | None = None
        self.status = response.status
        self.headers: Mapping[str, str] = {
            name.lower(): redaction.text(value) for name, value in response.headers.items()
        }
        self.is_over = False
        """Whether the whole answer was received; the body may go on."""

    async def frames(
        self, decoder: Decoder, parse_error: ParseError, most_bytes: int
    ) -> AsyncGenerator[list[Frame]]:
        """Yield the events of each read, until ``decoder``, which gets them, has the answer.

        A JSON document is decoded at its end. Raises ModelError if the body is neither events nor
        JSON, if it is an error document, which some providers send with status 200, and if the
        connection breaks or falls silent before the answer is complete.
        """
        self._refuse_redirect()
        body = Body(most_bytes)
        loop = asyncio.get_running_loop()
        until: float | None = None
        while (awaits := decoder.awaits) != "nothing":
            if body.kind == "document":
                # Not every server closes the connection after it.
                until = loop.time() + _REST_S if body.may_be_whole() else None
            elif until is None and awaits == "usage":
                until = loop.time() + _REST_S
            try:
                chunk = await self._read_until(until)
            except (ModelError, TimeoutError) as failed:
                if awaits == "usage" or body.is_whole():
                    break
                if isinstance(failed, TimeoutError):
                    continue  # a document that only seemed complete
                raise
            if not chunk:
                break
            if frames := body.feed(chunk):
                yield frames
            elif body.kind == "page":
                break
        if body.is_foreign():
            raise self._not_an_answer(body)
        last = body.finish()
        if body.kind == "document":
            self._refuse_error(body.document, parse_error)
            if (advice := remedy(last[0][1])) is not None:
                raise self._not_an_answer(body, advice)
        yield last
        if body.kind == "document" and decoder.awaits == "answer":
            raise self._not_an_answer(body)
        self.is_over = True

    def _refuse_redirect(self) -> None:
        if self.status >= 300:
            where = shown(self.headers.get("location", ""))
            raise ModelError(
                "provider_error",
                f"The provider redirects to {where!r} (status {self.status}), which is not "
                "followed.",
            )

    def _refuse_error(self, document: bytes, parse_error: ParseError) -> None:
        if (status := _status_in(document)) is not None:
            raise parse_error(status, self.headers, document)

    def _not_an_answer(
        self, body: Body, remedy: str = "Check the provider's base_url and protocol."
    ) -> ModelError:
        kind = self.headers.get("content-type", "")
        beginning = body.beginning.decode(errors="replace")
        return ModelError(
            "bad_stream",
            f"The provider responded to a streaming request with {kind!r} ({beginning!r}...). "
            f"{remedy}",
        )

    async def _read_until(self, until: float | None) -> bytes:
        """Read; raise TimeoutError if nothing has arrived at the loop's time ``until``."""
        if until is None:
            return await self.read()
        async with asyncio.timeout_at(until):
            return await self.read()

    async def read(self) -> bytes:
        """Return the next bytes of the body when they arrive; empty at its end.

        Raises ModelError("stream_cut") if the connection breaks and ModelError("timeout") if
        nothing arrives within the provider's ``timeout_s``.
        """
        try:
            chunk = await self._received()
            if self._redacted is None:
                return chunk
            while chunk:
                if clean := self._redacted.feed(chunk):
                    return clean
                chunk = await self._received()
            return self._redacted.finish()
        except (TimeoutError, aiohttp.ClientError, OSError) as broken:
            if self._redacted is not None and (held := self._redacted.finish()):
                return held
            if isinstance(broken, TimeoutError):
                raise ModelError("timeout", "The provider fell silent in mid-answer.") from broken
            raise ModelError(
                "stream_cut", f"The connection to the provider broke in mid-answer ({broken})."
            ) from broken

    async def _received(self) -> bytes:
        if self._broken is not None:
            raise self._broken
        content = self._response.content
        try:
            return await content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError) as broken:
            self._broken = broken
            # aiohttp raises before it returns what has arrived, which may hold the answer's end.
            if arrived := content._read_nowait(-1):
                return arrived
            raise

    async def drain(self) -> None:
        """Read the rest of the body, which should be short."""
        left = _DRAIN_BYTES
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_DRAIN_S):
                while left > 0 and (chunk := await self._response.content.readany()):
                    left -= len(chunk)

    async def beginning(self) -> bytes:
        """Return the first 64 KiB of the body, for error documents and other short ones."""
        try:
            return self._redaction.data(await self._response.content.read(_BEGINNING_BYTES))
        except (aiohttp.ClientError, OSError):
            return b""


def _status_in(body: bytes) -> int | None:
    """Return the status of an error document, None if the body is not one.

    Answers have the member ``error`` too, usually null. Google puts a list around the object; some
    servers write the error's members at the top.
    """
    try:
        document = parse_json(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict) or document.get("object") == "response":
        return None
    error = document.get("error")
    if not error and "error" not in (document.get("object"), document.get("type")):
        error = document.get("detail")
        if not error or document.keys() & _OF_ANSWERS:
            return None
    for holder in (error, document):
        code = holder.get("code") if isinstance(holder, dict) else None
        if isinstance(code, str) and len(code) == 3 and code.isdecimal():
            code = int(code)
        if isinstance(code, int) and 400 <= code < 600:
            return code
    return 502


_OF_ANSWERS = frozenset({"choices", "content", "output"})


def _reason(broken: Exception) -> str:
    """Return why there is no response, in fewer words than aiohttp's."""
    match broken:
        case aiohttp.ClientConnectorError():
            # Its message repeats the address and includes the TLS setting.
            return str(broken.os_error)
        case aiohttp.ClientHttpProxyError():
            return f"the proxy responds with status {broken.status}"
        case aiohttp.ClientResponseError():
            # Its message contains a part of the response, which may be cut inside a secret.
            return "its response is not valid HTTP"
        case _:
            return str(broken)


class Upstream:
    """One connection pool for all providers; created on the event loop.

    It does not retry; Temporal does. Proxies are taken from the environment (``HTTPS_PROXY``,
    ``NO_PROXY``). ``secrets`` are replaced in responses.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._draining = set[asyncio.Task[None]]()
        self._proxies: dict[str, str | None] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            # With trust_env, aiohttp reads the environment again for every request, and refuses a
            # request with a key if ~/.netrc has an entry for its host.
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Compressing each token costs more than it saves.
            headers={"accept-encoding": "identity", "user-agent": "polyvox"},
        )

    @asynccontextmanager
    async def post(
        self,
        provider: Provider,
        request: Rendered,
        authorization: Mapping[str, str],
        credentials: frozenset[str] = frozenset(),
    ) -> AsyncIterator[Answer]:
        """Post ``request``; leaving the context before the answer is over closes the socket.

        The provider's secrets and the request's ``credentials`` are replaced in the response.
        Raises ModelError("unreachable") or ModelError("timeout") if there is no response.
        """
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream",
            # Chosen by clients: a line end in a value must not start another header.
            **{name: header_value(value, _HEADER_BYTES) for name, value in request.headers.items()},
            **provider.headers,
            **authorization,
        }
        url = f"{provider.base_url.rstrip('/')}/{request.path}"
        try:
            response = await self._session.post(
                url,
                data=io.BytesIO(dump_json(request.body)),
                headers=headers,
                allow_redirects=False,
                proxy=self._proxy(provider.base_url),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_S, sock_read=provider.timeout_s
                ),
            )
        except TimeoutError as late:
            raise ModelError(
                "timeout", f"Provider {provider.name!r} did not answer in time ({shown(url)})."
            ) from late
        except (aiohttp.ClientError, OSError, ValueError) as broken:
            unconnected = isinstance(broken, aiohttp.ClientConnectorError)
            raise ModelError(
                "unreachable",
                f"Provider {provider.name!r} could not be reached at {shown(url)}: "
                f"{_reason(broken)}. "
                "Check its base_url and that it is running.",
                cost_usd=0.0 if unconnected else None,
            ) from broken
        answer = Answer(response, self._secrets.sent_to(provider, credentials))
        try:
            yield answer
        finally:
            # A response that was read to its end has already returned its connection.
            if answer.is_over and not response.content.is_eof():
                task = asyncio.create_task(answer.drain())
                self._draining.add(task)
                task.add_done_callback(self._draining.discard)
                task.add_done_callback(lambda _: response.close())
            else:
                response.close()

    def _proxy(self, base_url: str) -> str | None:
        if base_url not in self._proxies:
            self._proxies[base_url] = _proxy_in_environment(base_url)
        return self._proxies[base_url]

    async def close(self) -> None:
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        await self._session.close()


def _proxy_in_environment(base_url: str) -> str | None:
    address = urlsplit(base_url)
    if address.hostname is None or proxy_bypass(address.hostname):
        return None
    proxy = getproxies().get(address.scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy
