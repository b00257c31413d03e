"""What passes through the sign-in of the Web UI, in both directions, with any Web UI behind it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest_asyncio
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.ui_sessions import UiSessions
from polyvox.activities.storage.database import file_url, open_database
from polyvox.gateway.http.serving import FEW_FILES, listen, serving
from polyvox.gateway.web_ui.proxy import UiProxy
from polyvox.gateway.web_ui.sign_in import UiSignIn, ui_router
from polyvox.worker.settings.file import ServerSettings

SECRET = "key-of-a-client"


@dataclass(frozen=True, slots=True)
class Behind:
    """A browser with an open session, and the requests that came to the Web UI."""

    browser: httpx.AsyncClient
    seen: list[Request]
    session: str


@pytest_asyncio.fixture
async def behind(tmp_path: Path) -> AsyncIterator[Behind]:
    seen: list[Request] = []

    async def answer(request: Request) -> Response:
        seen.append(request)
        answer = Response(await request.body() or b"{}", media_type="application/json")
        answer.set_cookie("user0", "an upstream session")
        answer.set_cookie("_csrf", "token")
        for name in ("keep-alive", "server", "x-powered-by", "access-control-allow-origin"):
            answer.headers[name] = "*"
        if request.url.path.endswith("away"):
            answer.headers["location"] = "https://evil.example/"
            answer.status_code = 302
        return answer

    methods = ["GET", "POST", "PUT", "DELETE"]
    upstream = Starlette(routes=[Route("/{path:path}", answer, methods=methods)])
    url = file_url(tmp_path / "ledger.db")
    database = open_database(url)
    sessions = UiSessions(database)
    entered = await sessions.enter(sessions.issue_ticket())
    assert entered is not None
    listener = listen("127.0.0.1", 0)
    proxy = UiProxy(f"http://127.0.0.1:{listener.getsockname()[1]}")
    async with (
        Ledger.open(url) as ledger,
        serving(upstream, listener, ServerSettings(drain_s=1, max_body_mib=1), files=FEW_FILES),
    ):
        app = FastAPI()
        app.include_router(ui_router(UiSignIn(ledger, sessions, proxy)))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://gateway"
        ) as browser:
            browser.cookies.set("polyvox-ui-default", entered.session)
            yield Behind(browser, seen, entered.session)
        await proxy.close()
    database.dispose()


async def test_no_key_cookie_or_hop_by_hop_header_goes_to_the_web_ui(behind: Behind) -> None:
    """What it needs is listed; the rest stays here, whatever it is called."""
    behind.browser.cookies.set("_csrf", "token")
    behind.browser.cookies.set("other", "of another program")
    await behind.browser.post(
        "/ui/api/v1/a%2Fb?query=x%20y&n=1",
        content=b'{"a": 1}',
        headers={
            "authorization": f"Bearer {SECRET}",
            "x-api-key": SECRET,
            "proxy-authorization": SECRET,
            "connection": "keep-alive, x-hop",
            "x-hop": SECRET,
            "te": "trailers",
            "origin": "http://gateway",
            "referer": "http://gateway/ui/",
            "x-forwarded-for": "10.0.0.1",
            "x-csrf-token": "token",
            "content-type": "application/json",
        },
    )
    (request,) = behind.seen
    assert request.scope["raw_path"] == b"/ui/api/v1/a%2Fb"
    assert request.scope["query_string"] == b"query=x%20y&n=1"
    assert await request.body() == b'{"a": 1}'
    assert set(request.headers) == {
        *("accept", "accept-encoding", "content-length", "content-type"),
        *("cookie", "host", "x-csrf-token"),
    }
    assert request.headers["cookie"] == "_csrf=token"
    assert SECRET not in str(request.headers)
    assert behind.session not in str(request.headers)


async def test_only_what_a_page_needs_comes_back(behind: Behind) -> None:
    """No cookie but the guard's, which stays below /ui, no CORS header, no way to another host."""
    answer = await behind.browser.get("/ui/away")
    assert answer.status_code == 302
    assert "location" not in answer.headers
    assert answer.headers["set-cookie"] == "_csrf=token; Path=/ui; SameSite=strict"
    assert not {"keep-alive", "server", "x-powered-by", "access-control-allow-origin"} & set(
        answer.headers
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_the_cookie_is_secure_behind_tls(behind: Behind, tmp_path: Path) -> None:
    """Whether this server speaks it, or the proxy in front says it does."""
    database = open_database(file_url(tmp_path / "ledger.db"))
    for headers, secure in (({}, False), ({"x-forwarded-proto": "https"}, True)):
        ticket = UiSessions(database).issue_ticket()
        entered = await behind.browser.get(f"/ui/enter?ticket={ticket}", headers=headers)
        assert ("secure" in entered.headers["set-cookie"].lower()) is secure
    database.dispose()


async def test_a_web_ui_that_is_gone_is_told(tmp_path: Path) -> None:
    """An engine that restarts takes its Web UI along for a moment; a cluster may have none."""
    url = file_url(tmp_path / "ledger.db")
    database = open_database(url)
    sessions = UiSessions(database)
    for proxy, status, told in (
        (UiProxy("http://127.0.0.1:1"), 502, "Try again in a few seconds"),
        (None, 404, "engine.ui_address"),
    ):
        entered = await sessions.enter(sessions.issue_ticket())
        assert entered is not None
        async with Ledger.open(url) as ledger:
            app = FastAPI()
            sign_in = UiSignIn(ledger, sessions, proxy)
            app.include_router(ui_router(sign_in))
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://gateway:8484",
                cookies={"polyvox-ui-8484": entered.session},
            ) as browser:
                answer = await browser.get("/ui/")
            await sign_in.close()
        assert answer.status_code == status
        assert told in answer.text
        assert "127.0.0.1" not in answer.text
    database.dispose()
