"""Fetches media for providers that do not fetch URLs, and puts it inline.

URLs are untrusted: a client, or a document in its conversation, could name an address in the
server's own network. So the address is checked where the socket is created, after the host name has
been resolved, and again for each redirect. Number, size, type and time are limited for each
request. No proxy, cookie or credential of the server is used.
"""

import asyncio
import base64
import ipaddress
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from polyvox.activities.media.addresses import Address, is_public
from polyvox.workflows.conversation import (
    Conversation,
    File,
    Image,
    Message,
    Part,
    Source,
    ToolResult,
)
from polyvox.workflows.errors import ModelError

Kinds = tuple[type[Image | File], ...]
"""Kinds of media."""

_MIB = 1024 * 1024
_MOST_URLS = 20
_MOST_BYTES = 20 * _MIB
_MOST_BYTES_TOGETHER = 32 * _MIB
_CONNECT_S = 5.0
_HOPS = 3
_AT_ONCE = 4
"""Fetches of one request that run at the same time."""

_AT_ONCE_IN_ALL = 32
_LOOKUPS = 16
_SHOWN_CHARACTERS = 200
_TYPES = frozenset(
    {
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "application/pdf",
        "text/plain",
    }
)


class _NotPublic(OSError):
    """A host has an address that is not allowed, or cannot be resolved.

    It is one exception for both, so that clients cannot find out the names in the server's network.
    """


class _Guard(AbstractResolver):
    """Limits a connector to allowed addresses.

    aiohttp calls a resolver only for names and parses numeric addresses itself. It calls ``socket``
    for every address it connects to.
    """

    def __init__(self, allowed: Callable[[Address], bool], lookups: ThreadPoolExecutor) -> None:
        self._allowed = allowed
        self._lookups = lookups

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``. Raises _NotPublic if one of them is not allowed."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._lookups, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM
            )
        except (OSError, UnicodeError):
            raise _NotPublic from None
        for _, _, _, _, address in found:
            self._check(str(address[0]))
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
        ]

    def socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Return a socket for the address in ``info``. Raises _NotPublic if it is not allowed."""
        family, kind, protocol, _, address = info
        self._check(str(address[0]))
        return socket.socket(family, kind, protocol)

    def _check(self, text: str) -> None:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise _NotPublic from None
        if not self._allowed(address):
            raise _NotPublic

    async def close(self) -> None:
        """Do nothing; the interface requires this method."""


class _Budget:
    """The bytes that the fetches of one request may still read, and their concurrency limit."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(_AT_ONCE)
        self._left = _MOST_BYTES_TOGETHER

    def spend(self, size: int) -> bool:
        """Take ``size`` bytes; return False if fewer are left."""
        self._left -= size
        return self._left >= 0


class MediaFetcher:
    """Puts media inline.

    ``allowed`` returns whether an address may be connected to. ``limit_s`` limits the time for one
    URL, ``together_s`` the time for all URLs of a conversation.
    """

    def __init__(
        self,
        allowed: Callable[[Address], bool] = is_public,
        *,
        limit_s: float = 20.0,
        together_s: float = 60.0,
    ) -> None:
        self._limit_s = limit_s
        self._together_s = together_s
        # Own threads, so that a slow name server does not block other work.
        self._lookups = ThreadPoolExecutor(_LOOKUPS, "media-lookup")
        self._guard = _Guard(allowed, self._lookups)
        self._turn = asyncio.Semaphore(_AT_ONCE_IN_ALL)

    async def inlined(self, conversation: Conversation, kinds: Kinds) -> Conversation:
        """Return ``conversation`` with the URLs of media of ``kinds`` fetched.

        Raises ModelError("invalid_request") that names the URL that cannot be fetched.
        """
        wanted = {
            url
            for message in conversation.messages
            for part in _media(message.parts)
            if (url := part.source.url) and isinstance(part, kinds)
        }
        if not wanted:
            return conversation
        fetched = await self._fetch_all(sorted(wanted))
        messages = tuple(_with(message, fetched, kinds) for message in conversation.messages)
        return replace(conversation, messages=messages)

    async def _fetch_all(self, urls: list[str]) -> dict[str, Source]:
        if len(urls) > _MOST_URLS:
            raise ModelError(
                "invalid_request",
                f"The conversation holds {len(urls)} different URLs of images and files; at most "
                f"{_MOST_URLS} are fetched. Send the content itself.",
            )
        budget = _Budget()
        try:
            # The first failure ends the other fetches.
            async with asyncio.timeout(self._together_s), asyncio.TaskGroup() as group:
                tasks = {url: group.create_task(self._fetch(url, budget)) for url in urls}
        except TimeoutError:
            raise ModelError(
                "invalid_request",
                "The URLs of the conversation's images and files took more than "
                f"{self._together_s:g} s together. Send the content itself.",
            ) from None
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return {url: task.result() for url, task in tasks.items()}

    async def fetch(self, url: str) -> Source:
        """Return the media at ``url``. Raises ModelError("invalid_request")."""
        return await self._fetch(url, _Budget())

    async def _fetch(self, url: str, budget: _Budget) -> Source:
        async with budget.turn, self._turn:
            try:
                async with asyncio.timeout(self._limit_s), self._session() as session:
                    return await self._follow(session, url, budget)
            except TimeoutError:
                raise _failed(url, f"no complete response within {self._limit_s:g} s") from None
            except aiohttp.ClientConnectorError as error:
                raise _unconnected(url, error) from None
            except aiohttp.ClientResponseError:
                raise _failed(url, "its response is not valid HTTP") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise _failed(url, str(error) or type(error).__name__) from None

    def _session(self) -> aiohttp.ClientSession:
        """Return a session for one fetch; without proxies, whose connections are not checked."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._guard, socket_factory=self._guard.socket, use_dns_cache=False
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # A small compressed body may expand to a very large one.
            headers={"accept-encoding": "identity", "user-agent": "polyvox"},
            auto_decompress=False,
        )

    async def _follow(self, session: aiohttp.ClientSession, url: str, budget: _Budget) -> Source:
        hop = _checked(url, url)
        for _ in range(_HOPS + 1):
            async with session.get(hop, allow_redirects=False) as answer:
                if answer.status in (301, 302, 303, 307, 308):
                    location = answer.headers.get("location", "")
                    hop = _checked(url, location, hop)
                    continue
                if answer.status != 200:
                    raise _failed(url, f"it responds with status {answer.status}")
                kind = answer.content_type
                if kind not in _TYPES:
                    raise _failed(url, f"its type is {kind!r}, not one of {sorted(_TYPES)}")
                if answer.headers.get("content-encoding", "identity").lower() != "identity":
                    raise _failed(url, "it is compressed although that was not requested")
                body = await _limited(answer, url, budget)
                return Source(media_type=kind, data=base64.b64encode(body).decode())
        raise _failed(url, f"it redirects more than {_HOPS} times")

    def close(self) -> None:
        """Stop the threads that resolve names."""
        self._lookups.shutdown(wait=False, cancel_futures=True)


def _checked(url: str, target: str, base: URL | None = None) -> URL:
    """Return the parsed ``target``: ``url`` itself, or a redirect of it relative to ``base``.

    The URL is parsed only here, so that the checked URL is the fetched one.
    """
    # Parsers interpret these differently.
    if "\\" in target or any(c.isspace() or not c.isprintable() for c in target):
        raise _failed(url, "it has a backslash, white space or an invisible character")
    parsed = URL(target)
    if base is not None:
        parsed = base.join(parsed)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise _failed(url, "only http and https URLs are fetched")
    if parsed.user is not None or parsed.password is not None:
        raise _failed(url, "it has a user name or a password")
    return parsed


async def _limited(answer: aiohttp.ClientResponse, url: str, budget: _Budget) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise _failed(url, f"it is larger than {_MOST_BYTES // _MIB} MiB")
        if not budget.spend(len(chunk)):
            raise _failed(
                url, f"it and the others are larger than {_MOST_BYTES_TOGETHER // _MIB} MiB"
            )
    return bytes(body)


def _media(parts: tuple[Part, ...]) -> list[Image | File]:
    found: list[Image | File] = []
    for part in parts:
        if isinstance(part, Image | File):
            found.append(part)
        elif isinstance(part, ToolResult):
            found += _media(part.parts)
    return found


def _with(message: Message, fetched: dict[str, Source], kinds: Kinds) -> Message:
    parts = _replaced(message.parts, fetched, kinds)
    return message if parts == message.parts else message.edited(parts=parts)


def _replaced(
    parts: tuple[Part, ...], fetched: dict[str, Source], kinds: Kinds
) -> tuple[Part, ...]:
    def one(part: Part) -> Part:
        if isinstance(part, ToolResult):
            inner = _replaced(part.parts, fetched, kinds)
            return part if inner == part.parts else part.edited(parts=inner)
        if isinstance(part, Image | File) and isinstance(part, kinds):
            source = fetched.get(part.source.url or "")
            return part if source is None else part.edited(source=source)
        return part

    return tuple(one(part) for part in parts)


def _unconnected(url: str, error: aiohttp.ClientConnectorError) -> ModelError:
    if isinstance(error.os_error, _NotPublic):
        return _failed(url, f"its host {error.host!r} has no public address")
    return _failed(url, f"its host does not accept the connection ({error.os_error})")


def _failed(url: str, why: str) -> ModelError:
    return ModelError(
        "invalid_request",
        f"The URL {_shown(url)!r} cannot be fetched: {_cut(why)}. Send the content itself.",
    )


def _shown(url: str) -> str:
    """Return ``url`` for a message, without parts that may be secret: user and query."""
    return _cut(re.sub("//[^/]*@", "//", url.partition("#")[0].partition("?")[0]))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
