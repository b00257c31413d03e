"""Fetches media that a provider cannot fetch itself, and puts it inline.

The URL is a stranger's: a client, or a document it pasted, could point it at this machine's own
network. So only public addresses are connected to, checked at every hop on the address that is
really used, and size, type, time and the number of hops are limited.
"""

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from polyvox.activities.provider import Provider
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

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_BYTES = 20 * 1024 * 1024
_SECONDS = 20.0
_HOPS = 3
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


def is_public(address: Address) -> bool:
    """Whether an address is one on the internet, also when it is an IPv4 one written as IPv6."""
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_global and not address.is_multicast


class _GuardedResolver(AbstractResolver):
    """Resolves names to allowed addresses only; what it returns is what is connected to."""

    def __init__(self, allowed: Callable[[Address], bool]) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results: list[ResolveResult] = []
        for kind, _, protocol, _, address in found:
            if not self._allowed(ipaddress.ip_address(address[0])):
                raise _refused(host)
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=port,
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        """There is nothing to close."""


class MediaFetcher:
    """Puts media inline. ``allowed`` says which addresses may be connected to."""

    def __init__(self, allowed: Callable[[Address], bool] = is_public) -> None:
        self._allowed = allowed

    async def inlined(self, conversation: Conversation, provider: Provider) -> Conversation:
        """Return ``conversation`` with the URLs that ``provider`` cannot follow fetched.

        Raises ModelError("invalid_request") naming the URL that cannot be had.
        """
        wanted = {
            url
            for message in conversation.messages
            for part in _media(message.parts)
            if (url := part.source.url) and _needs_inlining(part, provider)
        }
        if not wanted:
            return conversation
        urls = sorted(wanted)
        fetched = dict(zip(urls, await asyncio.gather(*map(self.fetch, urls)), strict=True))
        messages = tuple(_with(message, fetched, provider) for message in conversation.messages)
        return replace(conversation, messages=messages)

    async def fetch(self, url: str) -> Source:
        """Return the media at ``url``. Raises ModelError("invalid_request") saying why not."""
        connector = aiohttp.TCPConnector(resolver=_GuardedResolver(self._allowed))
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                return await self._follow(session, url)
        except TimeoutError:
            raise _failed(url, f"no whole answer within {_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failed(url, str(error) or type(error).__name__) from error

    async def _follow(self, session: aiohttp.ClientSession, url: str) -> Source:
        hop = url
        for _ in range(_HOPS + 1):
            self._check(hop)
            async with session.get(hop, allow_redirects=False) as answer:
                if answer.status in (301, 302, 303, 307, 308):
                    hop = urljoin(hop, answer.headers.get("location", ""))
                    continue
                if answer.status != 200:
                    raise _failed(url, f"it answers with status {answer.status}")
                kind = answer.content_type
                if kind not in _TYPES:
                    raise _failed(url, f"its type is {kind!r}, not one of {sorted(_TYPES)}")
                body = await _limited(answer, url)
                return Source(media_type=kind, data=base64.b64encode(body).decode())
        raise _failed(url, f"it redirects more than {_HOPS} times")

    def _check(self, url: str) -> None:
        """Refuse other schemes, and literal addresses, which are never resolved."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _failed(url, "only http and https URLs are fetched")
        try:
            literal = ipaddress.ip_address(parts.hostname)
        except ValueError:
            return
        if not self._allowed(literal):
            raise _refused(parts.hostname)


async def _limited(answer: aiohttp.ClientResponse, url: str) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _BYTES:
            raise _failed(url, f"it is larger than {_BYTES // (1024 * 1024)} MiB")
    return bytes(body)


def _needs_inlining(part: Image | File, provider: Provider) -> bool:
    """Chat has no place for a file's URL; other providers say if they do not follow URLs."""
    return provider.inline_urls or (provider.protocol == "chat" and isinstance(part, File))


def _media(parts: tuple[Part, ...]) -> list[Image | File]:
    found: list[Image | File] = []
    for part in parts:
        if isinstance(part, Image | File):
            found.append(part)
        elif isinstance(part, ToolResult):
            found += _media(part.parts)
    return found


def _with(message: Message, fetched: dict[str, Source], provider: Provider) -> Message:
    parts = _replaced(message.parts, fetched, provider)
    return message if parts == message.parts else message.edited(parts=parts)


def _replaced(
    parts: tuple[Part, ...], fetched: dict[str, Source], provider: Provider
) -> tuple[Part, ...]:
    def one(part: Part) -> Part:
        if isinstance(part, ToolResult):
            inner = _replaced(part.parts, fetched, provider)
            return part if inner == part.parts else part.edited(parts=inner)
        if isinstance(part, Image | File) and _needs_inlining(part, provider):
            source = fetched.get(part.source.url or "")
            return part if source is None else part.edited(source=source)
        return part

    return tuple(one(part) for part in parts)


def _refused(host: str) -> ModelError:
    return ModelError(
        "invalid_request",
        f"The URL's host {host!r} is not a public address and is not fetched. Send the content "
        "itself instead.",
    )


def _failed(url: str, why: str) -> ModelError:
    return ModelError(
        "invalid_request", f"The URL {url!r} cannot be fetched: {why}. Send the content itself."
    )
