"""The upstream socket: one POST, answered by a stream.

Over aiohttp, not httpx: reading a token costs a quarter of the CPU (docs/decisions).
"""

import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import orjson

from polyvox.activities.model_call.provider import Provider
from polyvox.activities.model_call.redaction import Redaction, Secrets
from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.header_text import header_value
from polyvox.protocols.provider_side import Rendered
from polyvox.workflows.errors import ModelError

ParseError = Callable[[int, Mapping[str, str], bytes], ModelError]

_CONNECT_S = 10.0

_HEADER_BYTES = 8192

_BEGINNING_BYTES = 64 * 1024
"""How much of an answer that is no stream is read: some proxies answer with whole pages."""


class Answer:
    """An upstream's answer, open: its status and headers, and its body as it comes.

    What ``redaction`` knows is replaced in all of it before anybody reads it.
    """

    def __init__(self, response: aiohttp.ClientResponse, redaction: Redaction) -> None:
        self._response = response
        self._redaction = redaction
        self._body = redaction.byte_stream() if redaction else None
        self.status = response.status
        self.headers: Mapping[str, str] = {
            name.lower(): redaction.text(value) for name, value in response.headers.items()
        }

    async def check(self, parse_error: ParseError) -> None:
        """Raise ModelError for an answer that is no event stream.

        It is what the answer's own document says, if that is an error: some providers send one
        with status 200. Otherwise it is "bad_stream".
        """
        if self.status >= 300:
            where = self.headers.get("location", "nowhere")
            raise ModelError(
                "provider_error",
                f"The provider redirects to {where!r} (status {self.status}), which is not "
                "followed. Set its base_url to where it answers.",
            )
        kind = self.headers.get("content-type", "")
        if "json" not in kind and "html" not in kind:
            return
        body = await self.beginning()
        if (status := _said_status(body)) is not None:
            raise parse_error(status, self.headers, body)
        beginning = body[:200].decode(errors="replace")
        raise ModelError(
            "bad_stream",
            f"The provider answered a streaming request with {kind!r} ({beginning!r}...). "
            "Check the provider's base_url and protocol.",
        )

    async def read(self) -> bytes:
        """Return what has come of the body, waiting for some; empty at its end.

        Raises ModelError("stream_cut") when the connection breaks and ModelError("timeout") when
        nothing comes for the provider's ``timeout_s``.
        """
        try:
            chunk = await self._response.content.readany()
            if self._body is None:
                return chunk
            while chunk:
                if clean := self._body.feed(chunk):
                    return clean
                chunk = await self._response.content.readany()
            return self._body.finish()
        except TimeoutError as late:
            raise ModelError("timeout", "The provider fell silent in mid-answer.") from late
        except (aiohttp.ClientError, OSError) as broken:
            raise ModelError(
                "stream_cut", f"The connection to the provider broke in mid-answer ({broken})."
            ) from broken

    async def beginning(self) -> bytes:
        """Return the first 64 KiB of the body: an error's document, or another small one."""
        try:
            return self._redaction.data(await self._response.content.read(_BEGINNING_BYTES))
        except (aiohttp.ClientError, OSError):
            return b""


def _said_status(body: bytes) -> int | None:
    """Return the status that the document of an error stands for, None if it is no such."""
    try:
        document = parse_json(body)
    except orjson.JSONDecodeError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def _reason(broken: Exception) -> str:
    """Return why there is no answer, in fewer words than aiohttp's."""
    match broken:
        case aiohttp.ClientConnectorError():
            # Its own words repeat the address and name its TLS setting.
            return str(broken.os_error)
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answers with status {broken.status}"
        case aiohttp.ClientResponseError():
            # Its own words hold a piece of the answer, cut anywhere: even inside a secret.
            return "its answer is not valid HTTP"
        case _:
            return str(broken)


class Upstream:
    """One connection pool for all providers; built on the event loop. It never retries: Temporal
    does. Proxies are taken from the environment, as usual. No answer holds one of ``secrets``.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            trust_env=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            # A provider that compresses each token costs more than it saves.
            headers={"accept-encoding": "identity", "user-agent": "polyvox"},
        )

    @asynccontextmanager
    async def post(
        self, provider: Provider, request: Rendered, authorization: Mapping[str, str]
    ) -> AsyncIterator[Answer]:
        """Post ``request``; leaving the context before the body's end closes the socket.

        Raises ModelError("unreachable") or ModelError("timeout") without an answer.
        """
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream",
            # A client chose these: a line end in one must not begin a header of its own.
            **{name: header_value(value, _HEADER_BYTES) for name, value in request.headers.items()},
            **provider.headers,
            **authorization,
        }
        url = f"{provider.base_url.rstrip('/')}/{request.path}"
        try:
            response = await self._session.post(
                url,
                data=io.BytesIO(orjson.dumps(request.body)),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_S, sock_read=provider.timeout_s
                ),
            )
        except TimeoutError as late:
            raise ModelError(
                "timeout", f"Provider {provider.name!r} did not answer in time ({url})."
            ) from late
        except (aiohttp.ClientError, OSError, ValueError) as broken:
            unconnected = isinstance(broken, aiohttp.ClientConnectorError)
            raise ModelError(
                "unreachable",
                f"Provider {provider.name!r} could not be reached at {url}: {_reason(broken)}. "
                "Check its base_url and that it is running.",
                cost_usd=0.0 if unconnected else None,
            ) from broken
        try:
            yield Answer(response, self._secrets.sent_to(provider))
        finally:
            # An answer that was read to its end has given its connection back already.
            response.close()

    async def close(self) -> None:
        await self._session.close()
