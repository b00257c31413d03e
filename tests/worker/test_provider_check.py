"""What ``doctor`` says of a provider: which of key, URL and protocol is wrong."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from polyvox.activities.model_call.provider import Provider
from polyvox.protocols.table import PROTOCOLS
from polyvox.worker.doctor import examine
from polyvox.worker.settings.file import ServerSettings
from polyvox.worker.settings.settings import Settings

KEY = "a-key-of-the-provider"
LIST = {"object": "list", "data": [{"id": "a"}, {"id": "b"}]}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


def serving(protocol: str, base: str = "/v1", *, models: bool = True) -> dict[str, Handler]:
    """Return the routes of a server that speaks ``protocol`` below ``base``."""
    record = PROTOCOLS[protocol]

    def is_refused(request: web.Request) -> bool:
        return any(request.headers.get(n) != v for n, v in record.authorize(KEY).items())

    async def listed(request: web.Request) -> web.StreamResponse:
        if is_refused(request):
            said = {"error": {"message": f"Wrong key: {request.headers.get(record.key_header)}"}}
            return web.json_response(said, status=401)
        return web.json_response(LIST)

    async def asked(request: web.Request) -> web.StreamResponse:
        if is_refused(request):
            return web.json_response({"error": {"message": "Wrong key"}}, status=401)
        assert await request.json() == {}, "nothing that costs money"
        return web.json_response({"error": {"message": "model: Field required"}}, status=400)

    routes: dict[str, Handler] = {f"POST {base}/{record.path}": asked}
    if models:
        routes[f"GET {base}/models"] = listed
    return routes


@asynccontextmanager
async def server(routes: Mapping[str, Handler]) -> AsyncIterator[str]:
    """Serve ``routes``; everything else is not found."""
    app = web.Application()
    for route, handler in routes.items():
        method, _, path = route.partition(" ")
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await web.SockSite(runner, listener).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        await runner.cleanup()


async def told(
    folder: Path, provider: Provider, environ: dict[str, str] | None = None
) -> tuple[str, str, str]:
    """Return status, detail and remedy of the finding about ``provider``."""
    settings = Settings(
        folder / "data", providers={"local": provider}, server=ServerSettings(port=0)
    )
    environ = {"PATH": "/nowhere", "HOME": str(folder), "LOCAL_KEY": KEY, **(environ or {})}
    findings = {f.check: f for f in await examine(settings, environ)}
    assert KEY not in str(findings)
    found = findings["local reachable"]
    return found.status, found.detail, found.remedy


@protocols
async def test_a_provider_in_order_is_asked_for_its_models(tmp_path: Path, protocol: str) -> None:
    """With the key, in the header of its protocol."""
    async with server(serving(protocol)) as url:
        provider = Provider("local", protocol, f"{url}/v1", "LOCAL_KEY")
        assert await told(tmp_path, provider) == ("ok", f"{url}/v1/models responds; models: 2", "")


@protocols
async def test_a_wrong_key_is_named_with_its_variable(tmp_path: Path, protocol: str) -> None:
    """And what the provider said, without the key it may repeat."""
    async with server(serving(protocol)) as url:
        provider = Provider("local", protocol, f"{url}/v1", "LOCAL_KEY")
        status, detail, remedy = await told(tmp_path, provider, {"LOCAL_KEY": "wrong-key-12345"})
    assert status == "warn"
    assert "rejects the key (status 401): Wrong key" in detail
    assert "wrong-key-12345" not in detail
    assert remedy == "Set LOCAL_KEY to a valid key."


@protocols
async def test_a_wrong_key_is_found_though_everybody_may_list_the_models(
    tmp_path: Path, protocol: str
) -> None:
    """Some show their models without a key."""

    async def listed(_request: web.Request) -> web.StreamResponse:
        return web.json_response(LIST)

    async with server({**serving(protocol, models=False), "GET /v1/models": listed}) as url:
        provider = Provider("local", protocol, f"{url}/v1", "LOCAL_KEY")
        right = await told(tmp_path, provider)
        wrong = await told(tmp_path, provider, {"LOCAL_KEY": "wrong-key-12345"})
        keyless = await told(tmp_path, Provider("local", protocol, f"{url}/v1"))
    assert right == ("ok", f"{url}/v1/models responds; models: 2", "")
    assert wrong[2] == "Set LOCAL_KEY to a valid key."
    assert keyless[2].startswith("Set providers.local.api_key_env")


@protocols
async def test_a_provider_that_needs_a_key_but_has_none(tmp_path: Path, protocol: str) -> None:
    """The setting is missing, or the variable that it names; another finding is about that."""
    async with server(serving(protocol)) as url:
        keyless = await told(tmp_path, Provider("local", protocol, f"{url}/v1"))
        unset = await told(tmp_path, Provider("local", protocol, f"{url}/v1", "NOT_SET"))
    assert keyless[0] == "warn"
    assert keyless[2].startswith("Set providers.local.api_key_env")
    assert unset == ("ok", f"{url}/v1/models needs the key, which is not set", "")


@protocols
@pytest.mark.parametrize(
    ("base", "given"),
    [
        ("/v1", ""),
        ("/v1", "/v1/{path}"),
        ("/v1", "/v1/v1"),
        ("/v1", "/api"),
        ("", "/v1"),
        ("/team/v1", "/team"),
    ],
)
async def test_a_wrong_address_comes_with_the_right_one(
    tmp_path: Path, protocol: str, base: str, given: str
) -> None:
    """With or without /v1, and without the path of a request."""
    async with server(serving(protocol, base)) as url:
        wrong = url + given.format(path=PROTOCOLS[protocol].path)
        status, detail, remedy = await told(
            tmp_path, Provider("local", protocol, wrong, "LOCAL_KEY")
        )
    assert status == "warn"
    assert f"{wrong}/models does not exist (status 404)" in detail
    assert remedy == f"Set providers.local.base_url to '{url}{base}'."


async def test_a_redirect_leads_to_the_right_address(tmp_path: Path) -> None:
    """To the same host; a key is not sent to another."""

    async def moved(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPPermanentRedirect("/other/models")

    async with server({**serving("chat", "/other"), "GET /v1/models": moved}) as url:
        provider = Provider("local", "chat", f"{url}/v1", "LOCAL_KEY")
        status, _, remedy = await told(tmp_path, provider)
    assert (status, remedy) == ("warn", f"Set providers.local.base_url to '{url}/other'.")


@protocols
async def test_nothing_at_all_is_said_to_be_there(tmp_path: Path, protocol: str) -> None:
    """A page of a web server is not a provider either."""

    async def page(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    empty: Mapping[str, Handler] = {}
    for routes in (empty, {"GET /v1/models": page, "GET /models": page}):
        async with server(routes) as url:
            provider = Provider("local", protocol, f"{url}/v1", "LOCAL_KEY")
            status, detail, remedy = await told(tmp_path, provider)
        assert status == "warn"
        assert f"neither {url}/v1/models nor {url}/v1/{PROTOCOLS[protocol].path} exists" in detail
        assert "base_url" in remedy


@pytest.mark.parametrize(
    ("spoken", "given"),
    [
        ("messages", "chat"),
        ("messages", "responses"),
        ("chat", "messages"),
        ("chat", "responses"),
        ("responses", "chat"),
    ],
)
@pytest.mark.parametrize("models", [True, False], ids=["with models", "without models"])
async def test_a_wrong_protocol_is_named_with_the_right_one(
    tmp_path: Path, spoken: str, given: str, models: bool
) -> None:
    """By the header that takes the key, or by the route that exists."""
    async with server(serving(spoken, models=models)) as url:
        provider = Provider("local", given, f"{url}/v1", "LOCAL_KEY")
        status, detail, remedy = await told(tmp_path, provider)
    assert status == "warn"
    assert f"does not speak the protocol {given!r}" in detail
    assert remedy == f"Set providers.local.protocol to {spoken!r}."


@protocols
async def test_a_provider_without_a_list_of_models_is_in_order(
    tmp_path: Path, protocol: str
) -> None:
    """Some have none; its own route shows that address, protocol and key are right."""
    async with server(serving(protocol, models=False)) as url:
        provider = Provider("local", protocol, f"{url}/v1", "LOCAL_KEY")
        right = await told(tmp_path, provider)
        wrong = await told(tmp_path, provider, {"LOCAL_KEY": "wrong-key-12345"})
    assert right[0] == "ok"
    assert "no list of models" in right[1]
    assert wrong[2] == "Set LOCAL_KEY to a valid key."


async def test_a_provider_that_fails_is_not_said_to_be_wrong(tmp_path: Path) -> None:
    """Neither key nor address: it is down."""

    async def down(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "Busy."}}, status=503)

    async with server({"GET /v1/models": down}) as url:
        provider = Provider("local", "chat", f"{url}/v1", "LOCAL_KEY")
        status, detail, _ = await told(tmp_path, provider)
    assert (status, detail) == ("warn", f"{url}/v1/models responds with status 503: Busy.")
