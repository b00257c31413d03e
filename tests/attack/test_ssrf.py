"""No spelling of an address makes the server connect to its own network.

A connection to another machine fails the test automatically (see the tests' conftest); one to
this machine is counted by the site, which listens on several loopback addresses.
"""

import asyncio
import base64
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from polyvox.activities.media.addresses import Address, is_public
from polyvox.activities.media.inlining import MediaFetcher
from polyvox.activities.model_call.provider import Provider
from polyvox.workflows.conversation import Conversation, Image, Message, Source
from polyvox.workflows.errors import ModelError
from tests.attack.picture_site import PNG, Site, answer, listening, say_picture
from tests.attack.spellings import SPELLINGS

INLINING = Provider("p", "messages", "http://unused", inline_urls=True)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with listening(say_picture) as site:
        yield site


def loopback_too(address: Address) -> bool:
    """The test's own address counts as public; its neighbours do not."""
    return address == ip_address("127.0.0.1") or is_public(address)


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_connects_to_an_address_that_is_not_public(
    site: Site, spelling: str
) -> None:
    """The site gets no connection, and the error says what to do."""
    with pytest.raises(ModelError) as refused:
        await MediaFetcher().fetch(spelling.replace("PORT", str(site.port)))
    assert refused.value.kind == "invalid_request"
    assert refused.value.message.endswith("Send the content itself.")
    assert site.connections == 0


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_redirect_leads_to_an_address_that_is_not_public(spelling: str) -> None:
    """Each hop is checked like the first; 127.0.0.9 stands for the public site."""
    public = ip_address("127.0.0.9")
    async with listening(say_picture) as inner:
        target = spelling.replace("PORT", str(inner.port))

        async def redirect(writer: asyncio.StreamWriter, _target: str) -> None:
            location = target.encode()
            head = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: "
            writer.write(head + location + b"\r\n\r\n")
            await writer.drain()

        async with listening(redirect, (str(public),)) as outer:
            fetcher = MediaFetcher(lambda address: address == public or is_public(address))
            with pytest.raises(ModelError) as refused:
                await fetcher.fetch(f"http://{public}:{outer.port}/")
            # For every parser, some of these are a path of the public site, or go to its own port.
            assert outer.connections <= 4
        assert refused.value.kind == "invalid_request"
        assert inner.connections == 0


@pytest.mark.parametrize(
    "answers",
    [("127.0.0.1",), ("8.8.8.8", "127.0.0.1"), ("127.0.0.1", "8.8.8.8"), ("::1", "8.8.8.8")],
)
async def test_a_name_with_one_inner_address_is_refused(
    site: Site, answers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This applies whatever its other addresses are."""
    asked = names(monkeypatch, lambda _: answers)
    with pytest.raises(ModelError, match=r"'rebinding\.example' has no public address"):
        await MediaFetcher().fetch(f"http://rebinding.example:{site.port}/")
    assert asked == ["rebinding.example"]
    assert site.connections == 0


async def test_a_name_that_changes_its_address_is_asked_once_for_each_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checked address is the one that is connected to; there is no second look-up."""
    asked = names(monkeypatch, lambda n: ("127.0.0.1",) if n == 0 else ("127.0.0.2",))
    source = await MediaFetcher(loopback_too).fetch(f"http://rebinding.example:{site.port}/")
    assert source.data == base64.b64encode(PNG).decode()
    assert asked == ["rebinding.example"]
    with pytest.raises(ModelError, match="no public address"):
        await MediaFetcher(loopback_too).fetch(f"http://rebinding.example:{site.port}/")
    assert site.connections == 1


async def test_a_name_that_does_not_exist_reads_as_one_that_is_ours(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients cannot find out which names exist in the server's network."""
    names(monkeypatch, lambda _: ("10.0.0.7",))
    with pytest.raises(ModelError) as inner:
        await MediaFetcher().fetch("http://db.example/")

    def unknown(_: int) -> tuple[str, ...]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    names(monkeypatch, unknown)
    with pytest.raises(ModelError) as absent:
        await MediaFetcher().fetch("http://db.example/")
    assert inner.value.message == absent.value.message


def names(
    monkeypatch: pytest.MonkeyPatch, addresses: Callable[[int], tuple[str, ...]]
) -> list[str]:
    """Play the name server for ``.example``; return the list of names it is asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if not str(host).endswith(".example"):
            return real(host, port, *rest, **options)
        asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in found else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (found, port, 0, 0) if ":" in found else (found, port),
            )
            for found in addresses(len(asked) - 1)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


async def test_a_proxy_of_the_environment_is_not_used(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would connect to unchecked addresses."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, site.url)
    with pytest.raises(ModelError, match="no public address"):
        await MediaFetcher().fetch("http://10.0.0.1/")
    assert site.connections == 0


async def test_nothing_of_the_servers_goes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cookie of an earlier hop, no referrer, no credentials of a netrc file."""

    async def say(writer: asyncio.StreamWriter, target: str) -> None:
        if target == "/":
            headers = ("location: /picture", "set-cookie: tracked=1")
            writer.write(answer(b"", *headers, status="302 Found"))
        else:
            writer.write(answer(PNG))
        await writer.drain()

    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password test-password\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with listening(say) as site:
        await MediaFetcher(loopback_too).fetch(f"{site.url}/")
    assert len(site.heard) == 2
    sent = {line.split(":")[0].lower() for head in site.heard for line in head.split("\r\n")[1:]}
    assert sent <= {"", "host", "accept", "accept-encoding", "user-agent"}


async def test_thousands_of_urls_are_not_fetched(site: Site) -> None:
    """One request fetches only a few, and only some of them concurrently."""
    with pytest.raises(ModelError, match="holds 2000 different URLs"):
        await MediaFetcher(loopback_too).inlined(pictures(site, 2000), (Image,))
    assert site.connections == 0


async def test_few_urls_of_a_request_are_fetched_at_once() -> None:
    """The others wait, so that a request does not flood the site either."""
    enough = asyncio.Event()

    async def say(writer: asyncio.StreamWriter, _target: str) -> None:
        if here[0].open >= 4:
            enough.set()
        await enough.wait()
        writer.write(answer(PNG))
        await writer.drain()

    here: list[Site] = []
    async with listening(say) as site:
        here.append(site)
        inlined = await MediaFetcher(loopback_too).inlined(pictures(site, 20), (Image,))
    assert all(
        isinstance(part, Image) and part.source.url is None
        for message in inlined.messages
        for part in message.parts
    )
    assert site.connections == 20
    assert site.most_open == 4


async def test_the_first_url_that_fails_ends_the_other_fetches() -> None:
    """A refused request leaves no fetch running."""
    begun = asyncio.Event()

    async def say(writer: asyncio.StreamWriter, target: str) -> bool:
        if target == "/0":
            await begun.wait()
            writer.write(answer(b"", status="404 Not Found"))
        else:
            writer.write(OK + b"\r\n")
        await writer.drain()
        begun.set()
        return True

    # The site ends when all of its clients have disconnected.
    async with asyncio.timeout(60), listening(say) as site:
        with pytest.raises(ModelError, match="status 404"):
            await MediaFetcher(loopback_too).inlined(pictures(site, 2), (Image,))


async def test_the_urls_of_a_request_share_a_number_of_bytes() -> None:
    """Each file may be large, but not all of them together."""

    async def say(writer: asyncio.StreamWriter, _target: str) -> None:
        writer.write(answer(bytes(9 * 1024 * 1024)))
        await writer.drain()

    async with listening(say) as site:
        with pytest.raises(ModelError, match="it and the others are larger than 32 MiB"):
            await MediaFetcher(loopback_too).inlined(pictures(site, 6), (Image,))


def pictures(site: Site, count: int) -> Conversation:
    return Conversation(
        tuple(
            Message("user", (Image(Source(url=f"{site.url}/{number}")),)) for number in range(count)
        )
    )


OK = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n"

HOSTILE = {
    "a compressed body": answer(gzip.compress(bytes(100_000)), "content-encoding: gzip"),
    "a body of two codings": answer(b"", "content-encoding: gzip, br"),
    "a line without an end": b"HTTP/1.1 200 " + b"a" * 1_000_000,
    "a header without an end": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 1_000_000,
    "a million headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1_000_000,
    "a length that lies": OK + b"content-length: 100\r\n\r\nshort",
    "two lengths": OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "a length below zero": OK + b"content-length: -1\r\n\r\n",
    "a chunk that lies": OK + b"transfer-encoding: chunked\r\n\r\nff\r\na",
    "a chunk without a size": OK + b"transfer-encoding: chunked\r\n\r\nzz\r\na",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_is_an_error_that_says_why(name: str) -> None:
    """None of it is used, and the error is not an internal one."""

    async def say(writer: asyncio.StreamWriter, _target: str) -> None:
        writer.write(HOSTILE[name])
        await writer.drain()

    async with listening(say) as site:
        with pytest.raises(ModelError) as refused:
            await MediaFetcher(loopback_too).fetch(f"{site.url}/")
    assert refused.value.kind == "invalid_request"
    assert len(refused.value.message) < 1000


async def test_a_site_that_never_ends_is_left() -> None:
    """It may send slowly, but not for longer than the limit."""

    async def say(writer: asyncio.StreamWriter, _target: str) -> bool:
        writer.write(OK + b"\r\n" + PNG)
        await writer.drain()
        return True

    async with listening(say) as site:
        fetcher = MediaFetcher(loopback_too, limit_s=0.2)
        with pytest.raises(ModelError, match=r"no complete response within 0\.2 s"):
            await fetcher.fetch(f"{site.url}/")
        fetcher = MediaFetcher(loopback_too, together_s=0.2)
        with pytest.raises(ModelError, match=r"took more than 0\.2 s together"):
            await fetcher.inlined(pictures(site, 3), (Image,))


async def test_a_url_in_an_error_is_short_and_without_its_query(site: Site) -> None:
    """A query may contain a signature, and errors are stored in the ledger and the history."""
    host = f"someone:test-password@127.0.0.1:{site.port}"
    with pytest.raises(ModelError) as refused:
        await MediaFetcher().fetch(f"http://{host}/{'a' * 100_000}?signature=test-signature#part")
    assert "test-signature" not in refused.value.message
    assert "test-password" not in refused.value.message
    assert len(refused.value.message) < 1000


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "192.0.1.1", "198.20.0.1"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    """Also next to the special ranges, and in the two IPv6 forms of an IPv4 address."""
    assert is_public(ip_address(address))
    assert is_public(ip_address(f"::ffff:{address}"))
    assert is_public(ip_address(f"64:ff9b::{address}"))
