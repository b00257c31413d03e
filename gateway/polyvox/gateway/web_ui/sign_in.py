"""Temporal's Web UI behind Polyvox's own sign-in, at ``/ui``.

The Web UI has no sign-in of its own and can start, change and read every run. Here it needs a
session in a cookie, opened with a ticket, which ``polyvox up`` and ``polyvox ui`` print, or with
an admin key. The cookie's name contains the port, because browsers have one set of cookies for all
ports of a host.
"""

from urllib.parse import parse_qs

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.ui_sessions import UiSessions
from polyvox.gateway.web_ui.pages import onward_page, sentence_page, sign_in_page
from polyvox.gateway.web_ui.proxy import UiProxy, wants_page

PATH = "/ui"
DOCS_PATH = "/api/docs"
MAX_FORM_BYTES = 16 * 1024

_SIGN_IN = (
    "To see this page, run `polyvox ui` on the server's machine and open the link it prints, or "
    "sign in with an admin key."
)
_USED = (
    "This link has already been used or is older than ten minutes. Run `polyvox ui` for a new "
    "one, or sign in with an admin key."
)
_NO_UI = (
    "There is no Web UI: the engine runs without one, or it is a cluster whose Web UI this server "
    "does not know. Set engine.ui_address to the HOST:PORT of the cluster's Web UI."
)
_FOREIGN = "Another site's page may not use the Web UI. Open it in its own tab."


class UiSignIn:
    """The sign-in and the routes below ``/ui``. ``proxy`` is None without a Web UI."""

    def __init__(self, ledger: Ledger, sessions: UiSessions, proxy: UiProxy | None) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._proxy = proxy

    async def close(self) -> None:
        if self._proxy is not None:
            await self._proxy.close()

    async def root(self, _request: Request) -> Response:
        return RedirectResponse(f"{PATH}/", 307)

    async def enter(self, request: Request) -> Response:
        """Open a session for a ticket and continue to the page it was made for."""
        entered = await self._sessions.enter(request.query_params.get("ticket", ""))
        if entered is None:
            return sign_in_page(_USED, 401, f"{PATH}/")
        response = onward_page(f"{PATH}/{entered.target}")
        _set_session(request, response, entered.session)
        return response

    async def sign_in(self, request: Request) -> Response:
        """Open a session for an admin key."""
        if "origin" not in request.headers or _foreign(request):
            # Host and Origin are compared before any route; here there must be an Origin.
            return sentence_page(_FOREIGN, 403)
        form = await _form(request)
        going_to = _own_path(form.get("next", ""))
        key_id = await self._ledger.find_key(form.get("key", "").strip())
        if key_id is None:
            return sign_in_page("The key is unknown or was revoked.", 401, going_to)
        if await self._ledger.role_of(key_id) != "admin":
            message = "This is a user key, and this page needs an admin key."
            return sign_in_page(message, 403, going_to)
        response = RedirectResponse(going_to, 303)
        _set_session(request, response, await self._sessions.open(key_id))
        return response

    async def refusal(self, request: Request) -> Response | None:
        """Return the answer to a request without an open session, None if its session is open."""
        if _foreign(request):
            return sentence_page(_FOREIGN, 403)
        session = request.cookies.get(_cookie(request))
        if session is not None and await self._sessions.is_open(session):
            return None
        if not wants_page(request):
            return PlainTextResponse(_SIGN_IN, 401)
        query = f"?{request.url.query}" if request.url.query else ""
        return sign_in_page(_SIGN_IN, 401, _own_path(request.url.path + query))

    async def show(self, request: Request) -> Response:
        """Forward the request to the Web UI if its session is open."""
        if (refusal := await self.refusal(request)) is not None:
            return refusal
        if self._proxy is None:
            return sentence_page(_NO_UI, 404)
        return await self._proxy.answer(request)


def ui_router(sign_in: UiSignIn) -> APIRouter:
    router = APIRouter()
    router.add_route(PATH, sign_in.root, methods=["GET"])
    router.add_route(f"{PATH}/enter", sign_in.enter, methods=["GET"])
    router.add_route(f"{PATH}/sign-in", sign_in.sign_in, methods=["POST"])
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    router.add_route(f"{PATH}/{{path:path}}", sign_in.show, methods=methods)
    return router


def _foreign(request: Request) -> bool:
    """Return True if another site's page sends the request; following a link is allowed.

    A page at another port of this host is another site, but its requests have the cookie.
    """
    site = request.headers.get("sec-fetch-site", "none")
    follows_link = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
    return site not in {"none", "same-origin"} and not follows_link


def _own_path(path: str) -> str:
    """Return ``path`` if a session opens it, else the Web UI's first page."""
    below_ui = path.startswith(f"{PATH}/") and "\\" not in path and path.isprintable()
    return path if below_ui or path == DOCS_PATH else f"{PATH}/"


def _cookie(request: Request) -> str:
    return f"polyvox-ui-{request.url.port or 'default'}"


def _set_session(request: Request, response: Response, secret: str) -> None:
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    secure = "https" in {request.url.scheme, forwarded}
    for path in (PATH, DOCS_PATH):
        response.set_cookie(
            _cookie(request), secret, path=path, secure=secure, httponly=True, samesite="strict"
        )
    response.headers["cache-control"] = "no-store"


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form, none if it is too long."""
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM_BYTES:
                return {}
    except ClientDisconnect:
        return {}
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}
