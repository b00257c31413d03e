"""Forwards requests to Temporal's Web UI and streams its answers back.

Only listed headers pass, in both directions; above all Polyvox's own keys and cookies do not. The
Web UI itself is served below ``/ui`` at its own address too, so no path is rewritten.
"""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from http.cookies import CookieError, SimpleCookie

import aiohttp
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from yarl import URL

from polyvox.gateway.web_ui.pages import sentence_page

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_ANSWER_BYTES = 256 * 1024 * 1024
MAX_PAGE_BYTES = 1024 * 1024
_AT_ONCE = 64
_SILENCE_S = 90.0

CSRF_COOKIE = "_csrf"
"""The Web UI's own guard against forged requests: a cookie that its scripts repeat in a header."""

_FORWARDED = (
    *("accept", "accept-language", "caller-type", "content-type"),
    *("if-modified-since", "if-none-match", "range", "x-csrf-token"),
)
_RETURNED = (
    *("accept-ranges", "content-disposition", "content-encoding", "content-length"),
    *("content-range", "content-type", "etag", "last-modified", "vary"),
)
_SECURITY = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


class _TooLarge(Exception):
    """An answer is larger than any that the Web UI needs."""


class UiProxy:
    """A Web UI at ``upstream``, such as ``http://127.0.0.1:8080``. Ended by ``close``."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.rstrip("/")
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def answer(self, request: Request) -> Response:
        """Return the Web UI's answer to ``request``, whose path begins with ``/ui/``."""
        path = request.scope["raw_path"].decode("latin-1")
        query = request.scope["query_string"].decode("latin-1")
        url = f"{self._upstream}{path}" + (f"?{query}" if query else "")
        body = await _body(request)
        if body is None:
            return sentence_page("The request is larger than the engine accepts.", 413)
        try:
            upstream = await self._session.request(
                request.method,
                URL(url, encoded=True),
                headers=_forwarded(request),
                data=body or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError):
            return sentence_page(
                "Temporal's Web UI is not responding. Try again in a few seconds; "
                "if this persists, see the engine's log.",
                502,
            )
        return await _returned(request, upstream)

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_AT_ONCE),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_SILENCE_S),
                # Cookies belong to the browser, and bodies pass as they are.
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
                trust_env=False,
            )
        return self._opened


def _forwarded(request: Request) -> dict[str, str]:
    headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
    # A page is read here, for the hashes of its scripts; the rest passes compressed.
    compressed = "gzip" in request.headers.get("accept-encoding", "") and not wants_page(request)
    headers["accept-encoding"] = "gzip" if compressed else "identity"
    if csrf := request.cookies.get(CSRF_COOKIE):
        headers["cookie"] = f"{CSRF_COOKIE}={csrf}"
    return headers


def wants_page(request: Request) -> bool:
    """Return True for a browser that loads a page, not a part of one."""
    return "text/html" in request.headers.get("accept", "")


async def _body(request: Request) -> bytes | None:
    """Return the whole body, None if it is larger than what the engine takes over gRPC."""
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
    return b"".join(parts)


async def _returned(request: Request, upstream: aiohttp.ClientResponse) -> Response:
    headers = {name: upstream.headers[name] for name in _RETURNED if name in upstream.headers}
    headers |= _SECURITY
    path = request.url.path
    # Names below immutable/ contain the hash of their content.
    caching = "private, max-age=31536000, immutable" if "/_app/immutable/" in path else "no-store"
    headers["cache-control"] = caching
    if (location := upstream.headers.get("location", "")).startswith("/ui/"):
        headers["location"] = location
    kind = headers.get("content-type", "")
    if kind.startswith("text/html") and headers.get("content-encoding") is None:
        page = b"".join([part async for part in _parts(upstream, MAX_PAGE_BYTES)])
        headers.pop("content-length", None)
        headers["content-security-policy"] = content_policy(page)
        response = Response(page, upstream.status, headers)
    else:
        headers["content-security-policy"] = content_policy(b"")
        response = StreamingResponse(_parts(upstream), upstream.status, headers)
    if csrf := _csrf_cookie(upstream):
        response.set_cookie(CSRF_COOKIE, csrf, path="/ui", samesite="strict")
    return response


async def _parts(
    upstream: aiohttp.ClientResponse, limit: int = MAX_ANSWER_BYTES
) -> AsyncIterator[bytes]:
    size = 0
    try:
        async for part in upstream.content.iter_any():
            size += len(part)
            if size > limit:
                raise _TooLarge
            yield part
    finally:
        # Stop reading once the client has disconnected.
        upstream.close()


def _csrf_cookie(upstream: aiohttp.ClientResponse) -> str | None:
    for line in upstream.headers.getall("set-cookie", []):
        try:
            cookie = SimpleCookie(line).get(CSRF_COOKIE)
        except CookieError:
            continue
        if cookie is not None:
            return str(cookie.value)
    return None


def content_policy(page: bytes) -> str:
    """Return the Content-Security-Policy of a page: only its own scripts, only its own server.

    The Web UI sends no policy of its own when it is served below a path. Its one inline script is
    allowed by its hash.
    """
    hashes = "".join(
        f" 'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(page)
    )
    return (
        f"default-src 'self'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; manifest-src 'self' data:; "
        "worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    )
