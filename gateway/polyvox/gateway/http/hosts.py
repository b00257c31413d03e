"""Which Host a request may name and which web page may send it, checked before any route.

A web page reaches servers of this machine in two ways. By DNS rebinding: a name that the attacker
owns resolves to a loopback address, and the page's own origin is then this server; its ``Host``
gives it away. Across sites: a form or ``fetch`` that needs no preflight; its ``Origin`` gives it
away. Clients that are not web pages send no ``Origin``, or one that is not of the web, such as an
editor's ``vscode-webview://...``.
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from polyvox.workflows.errors import ModelError

Render = Callable[[Request, ModelError], Awaitable[Response]]

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(?::(?P<port>\d{1,5}))?", re.I)
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\S*)", re.I)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_REMEMBERED = 1024

MISDIRECTED = 421


class Names:
    """The accepted Hosts and Origins. ``hosts`` are names besides those that no outsider can own;
    ``*.NAME`` means all names below NAME. ``origins`` are web origins besides the request's own."""

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        named = {host.lower() for host in hosts}
        self._hosts = frozenset(host for host in named if not host.startswith("*."))
        self._below = tuple(host[1:] for host in named if host.startswith("*."))
        self._origins = frozenset(origin.lower() for origin in origins)
        # Most requests have one of a few Hosts; a flood of others only empties the cache.
        self._known = lru_cache(_REMEMBERED)(self._look)

    def mistake(self, scope: Scope) -> ModelError | None:
        """Return why the request of an ASGI scope is refused, or None."""
        host: bytes | None = None
        origin: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    return _malformed("The request has several Host headers. Send one.")
                host = value
            elif name == b"origin":
                if origin is not None:
                    return _malformed("The request has several Origin headers. Send one.")
                origin = value
        if host is None:
            if scope.get("http_version") == "1.0" and origin is None:
                return None
            return _malformed("The request has no Host header. Send one.")
        if mistake := self._known(host):
            return ModelError("invalid_request", mistake[1], status=mistake[0])
        if origin is None:
            return None
        return self._foreign(origin.decode("latin-1"), host.decode("latin-1"), scope["path"])

    def _look(self, host: bytes) -> tuple[int, str] | None:
        found = _HOST.fullmatch(host.decode("latin-1"))
        if found is None:
            return 400, "The Host header is not a host name or address with an optional port."
        name = found["name"].lower()
        if self._accepts(name):
            return None
        return MISDIRECTED, (
            f"This server does not answer to the name {name[:100]!r}, which could belong to "
            "someone else. Call it by its address or as localhost, or add the name to "
            "server.allowed_hosts."
        )

    def _accepts(self, name: str) -> bool:
        if "." not in name and ":" not in name:  # localhost, a machine or a service of a network
            return True
        if name.endswith((".localhost", ".internal")) or name in self._hosts:
            return True
        return name.endswith(self._below) or _is_address(name)

    def _foreign(self, origin: str, host: str, path: str) -> ModelError | None:
        found = _ORIGIN.fullmatch(origin)
        scheme = found["scheme"].lower() if found else ""
        if found and scheme in _DEFAULT_PORTS:
            if _place(found["host"]) == _place(host):
                return None
        elif found and not is_ui(path):
            return None
        if origin.lower() in self._origins and not is_ui(path):
            return None
        remedy = (
            "Open the Web UI in its own tab; a reverse proxy must forward the Host header."
            if is_ui(path)
            else "To allow it, add its origin to server.allowed_origins."
        )
        return ModelError(
            "permission",
            f"The web page {origin[:100]!r} may not send requests to this server. {remedy}",
        )


def is_ui(path: str) -> bool:
    """Return True for the paths of Temporal's Web UI, which a browser opens with a cookie."""
    return path == "/ui" or path.startswith("/ui/")


def _place(host: str) -> tuple[str, str] | None:
    """Return name and port; no port, 80 and 443 are equal, because a proxy may terminate TLS."""
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    port = found["port"] or ""
    return found["name"].lower(), "" if port in _DEFAULT_PORTS.values() else port


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _malformed(message: str) -> ModelError:
    return ModelError("invalid_request", message)


class HostGuard:
    """ASGI middleware that refuses what ``names`` does not accept; ``render`` makes the answer."""

    def __init__(self, app: ASGIApp, names: Names, render: Render) -> None:
        self._app = app
        self._names = names
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        error = self._names.mistake(scope) if kind in {"http", "websocket"} else None
        if error is None:
            await self._app(scope, receive, send)
        elif kind == "http":
            response = await self._render(Request(scope), error)
            await response(scope, receive, send)
        else:
            response = await self._render(
                Request({**scope, "type": "http", "method": "GET"}), error
            )
            await WebSocket(scope, receive, send).send_denial_response(response)
