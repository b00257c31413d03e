"""HTTP requests to providers: one POST whose response is a stream.

Uses aiohttp and not httpx, because reading a token takes a quarter of the CPU (docs/decisions).
"""

import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import orjson

from polyvox.activities.failures.base_urls import shown
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
"""The most that is read of a response that is not a stream: some proxies send whole pages."""


class Answer:
    """An open response of a provider: its status and headers, and its body as it arrives.

    The secrets of ``redaction`` are replaced in headers and body.
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
        """Raise ModelError if the response is not an event stream.

        If the body is an error document, which some providers send with status 200, that error is
        raised, otherwise "bad_stream".
        """
        if self.status >= 300:
            where = shown(self.headers.get("location", ""))
            raise ModelError(
                "provider_error",
                f"The provider redirects to {where!r} (status {self.status}), which is not "
                "followed.",
            )
        kind = self.headers.get("content-type", "")
        if "json" not in kind and "html" not in kind:
            return
        body = await self.beginning()
        if (status := _status_in(body)) is not None:
            raise parse_error(status, self.headers, body)
        beginning = body[:200].decode(errors="replace")
        raise ModelError(
            "bad_stream",
            f"The provider responded to a streaming request with {kind!r} ({beginning!r}...). "
            "Check the provider's base_url and protocol.",
        )

    async def read(self) -> bytes:
        """Return the next bytes of the body when they arrive; empty at its end.

        Raises ModelError("stream_cut") if the connection breaks and ModelError("timeout") if
        nothing arrives within the provider's ``timeout_s``.
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
        """Return the first 64 KiB of the body, for error documents and other short ones."""
        try:
            return self._redaction.data(await self._response.content.read(_BEGINNING_BYTES))
        except (aiohttp.ClientError, OSError):
            return b""


def _status_in(body: bytes) -> int | None:
    """Return the status of an error document, None if the body is not one."""
    try:
        document = parse_json(body)
    except orjson.JSONDecodeError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and len(code) == 3 and code.isdecimal():
        code = int(code)
    return code if isinstance(code, int) and 400 <= code < 600 else 502


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

    It does not retry; Temporal does. Proxies are taken from the environment, as usual. ``secrets``
    are replaced in responses.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            trust_env=True,
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
        """Post ``request``; leaving the context before the end of the body closes the socket.

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
                data=io.BytesIO(orjson.dumps(request.body)),
                headers=headers,
                allow_redirects=False,
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
        try:
            yield Answer(response, self._secrets.sent_to(provider, credentials))
        finally:
            # A response that was read to its end has already returned its connection.
            response.close()

    async def close(self) -> None:
        await self._session.close()
