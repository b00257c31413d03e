"""Media is fetched for providers that cannot, and never from this machine's own network."""

import base64
import ipaddress
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from polyvox.activities.media.addresses import is_public
from polyvox.activities.media.inlining import MediaFetcher
from polyvox.activities.model_call.provider import Provider
from polyvox.workflows.conversation import (
    Conversation,
    File,
    Image,
    Message,
    Source,
    Text,
    ToolResult,
    Wire,
)
from polyvox.workflows.errors import ModelError

PNG = b"\x89PNG\r\n\x1a\n not really"
CHAT = Provider("p", "chat", "http://unused")
INLINING = Provider("p", "messages", "http://unused", inline_urls=True)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[str]:
    """A site with a picture, a page, something huge, and redirects."""

    async def picture(_request: web.Request) -> web.Response:
        return web.Response(body=PNG, content_type="image/png")

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    async def huge(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "image/png"})
        await answer.prepare(request)
        for _ in range(21):
            await answer.write(bytes(1024 * 1024))
        return answer

    async def moved(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/picture")

    async def inward(_request: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data")

    async def around(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/around")

    app = web.Application()
    for handler in (picture, page, huge, moved, inward, around):
        app.router.add_get(f"/{handler.__name__}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def reachable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """The test's site counts as public, everything else is judged as ever."""
    return address == ipaddress.ip_address("127.0.0.1") or is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
    ],
)
def test_an_inner_address_is_not_public(address: str) -> None:
    """Loopback, private, link-local, shared, multicast, and IPv4 dressed as IPv6."""
    assert not is_public(ipaddress.ip_address(address))


def test_an_address_on_the_internet_is_public() -> None:
    """Otherwise nothing could be fetched at all."""
    assert is_public(ipaddress.ip_address("8.8.8.8"))
    assert is_public(ipaddress.ip_address("2606:4700:4700::1111"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433"])
async def test_this_machine_is_never_asked(site: str, host: str) -> None:
    """By address, by name, and in the odd spellings that resolve to it."""
    url = site.replace("127.0.0.1", host) + "/picture"
    with pytest.raises(ModelError) as refused:
        await MediaFetcher().fetch(url)
    assert refused.value.kind == "invalid_request"
    assert "Send the content" in refused.value.message


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/page", "its type is 'text/html'"),
        ("/huge", "larger than 20 MiB"),
        ("/inward", "its host '169.254.169.254' has no public address"),
        ("/around", "redirects more than 3 times"),
        ("/nowhere", "status 404"),
    ],
)
async def test_what_is_no_acceptable_media_is_refused(site: str, path: str, why: str) -> None:
    """Type, size, the target of each redirect and their number are limited, and named."""
    with pytest.raises(ModelError, match=why):
        await MediaFetcher(reachable).fetch(site + path)


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://example.com/a", "gopher://x", "//x/y"])
async def test_only_web_addresses_are_fetched(url: str) -> None:
    """Nothing else leads anywhere."""
    with pytest.raises(ModelError, match="only http and https"):
        await MediaFetcher().fetch(url)


@pytest.mark.parametrize("path", ["/picture", "/moved"])
async def test_a_picture_is_put_inline(site: str, path: str) -> None:
    """In a message and in a tool's result; what stands beside it keeps its spelling."""
    image = Image(Source(url=site + path))
    beside = Text("look", wire=Wire("messages", {"type": "text", "text": "look", "new": 1}))
    conversation = Conversation(
        (
            Message("user", (beside, image), wire=Wire("messages", {"role": "user"})),
            Message("user", (ToolResult("call", (image,)),)),
            Message("user", (Text("and?"),)),
        )
    )
    inlined = await MediaFetcher(reachable).inlined(conversation, (Image, File))
    source = Source(media_type="image/png", data=base64.b64encode(PNG).decode())
    first, second, third = inlined.messages
    assert first.parts == (beside, Image(source))
    assert first.wire is None
    assert first.parts[0].wire is beside.wire
    assert second.parts == (ToolResult("call", (Image(source),)),)
    assert third is conversation.messages[2]


async def test_nothing_is_fetched_for_a_provider_that_fetches_itself() -> None:
    """The conversation stays the very same; chat fetches pictures but has no place for files."""
    image = Conversation((Message("user", (Image(Source(url="http://127.0.0.1/x")),)),))
    assert await MediaFetcher().inlined(image, (File,)) is image
    file = Conversation((Message("user", (File(Source(url="http://127.0.0.1/x.pdf")),)),))
    with pytest.raises(ModelError, match="no public address"):
        await MediaFetcher().inlined(file, (File,))
