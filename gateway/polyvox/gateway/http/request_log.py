"""One log line for each request: its id, key, model, status, time and tokens.

A line never contains text of a prompt or an answer, a key or a secret: names that clients choose
are shown only if they look like names, and of an error only its kind.
"""

import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Usage

log = logging.getLogger("polyvox.requests")

FACTS = "facts"
"""The attribute of a log record that holds the line's values as a dict."""

_SCOPE = "polyvox.request_facts"
_PROBES = ("/", "/healthz", "/readyz", "/api/hello")
_NAME = re.compile(r"[\w.:@+/{}*-]{1,120}")
_SECRET = re.compile(r"(?i)(?:pvx|sk|key|token|bearer)[-_][\w-]{6,}")
_HIDDEN = "(hidden)"
_LONGEST_KEY_NAME = 60


@dataclass(slots=True)
class RequestFacts:
    """What is known of a request when it ends; each part of the server sets what it learns.

    ``key`` is the name of the key, ``error`` the kind of the error and ``error_status`` its HTTP
    status. With several answers to one request, ``usage`` is the sum.
    """

    key: str = ""
    model: str = ""
    request_id: str = ""
    error: str = ""
    provider: str = ""
    error_status: int = 0
    usage: Usage = field(default_factory=Usage)

    def fail(self, error: ModelError) -> None:
        self.error = self.error or error.kind
        self.provider = self.provider or error.provider or ""
        self.error_status = self.error_status or error.http_status


def facts_of(connection: HTTPConnection) -> RequestFacts:
    """Return the facts of a request; without ``RequestLog`` nobody reads them."""
    facts = connection.scope.setdefault(_SCOPE, RequestFacts())
    assert isinstance(facts, RequestFacts)
    return facts


class RequestLog:
    """The outermost ASGI application: logs each request when its answer has ended.

    An exception that arrives here was answered by the application; it is logged once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts = scope[_SCOPE] = RequestFacts()
        started = time.perf_counter()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                facts.request_id = facts.request_id or _id_in(message.get("headers", ()))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as defect:
            if not facts.error:  # raised after the answer had begun
                log.error("Unexpected error", exc_info=defect)
            facts.error = "internal"
        finally:
            write_line(scope["method"], path_of(scope), status or 499, started, facts)


def write_line(method: str, path: str, status: int, started: float, facts: RequestFacts) -> None:
    """Log one request; ``started`` is its ``time.perf_counter()``. A status of 499 means that the
    client disconnected first."""
    milliseconds = round((time.perf_counter() - started) * 1000)
    level = _level(path, status, facts)
    if not log.isEnabledFor(level):
        return
    usage = facts.usage
    tokens_in = usage.whole_input if usage != Usage() else None
    values: dict[str, Any] = {
        "method": method,
        "path": path,
        "status": status,
        "ms": milliseconds,
        "id": facts.request_id or None,
        "key": _key_name(facts.key) or None,
        "model": shown(facts.model) or None,
        "tokens_in": tokens_in,
        "tokens_out": usage.output,
        "error": facts.error or None,
        "provider": shown(facts.provider) or None,
    }
    more = "".join(
        f" {name}={value}" for name, value in list(values.items())[4:] if value is not None
    )
    log.log(
        level, "%s %s %d %d ms%s", method, path, status, milliseconds, more, extra={FACTS: values}
    )


def shown(name: str) -> str:
    """Return a name that somebody chose, if it looks like one and not like a text or a secret."""
    return name if not name or (_NAME.fullmatch(name) and not _SECRET.search(name)) else _HIDDEN


@lru_cache(maxsize=256)
def _key_name(name: str) -> str:
    """Return the name of a key, which its operator chose, as one word."""
    return "".join(c if c.isprintable() and c != " " else "_" for c in name)[:_LONGEST_KEY_NAME]


def path_of(scope: Scope) -> str:
    """Return the path of a request with the names of its parameters instead of their values."""
    path = str(scope["path"])
    parameters: dict[str, Any] = scope.get("path_params") or {}
    for name, value in sorted(parameters.items(), key=lambda item: -len(str(item[1]))):
        if value:
            path = path.replace(str(value), f"{{{name}}}", 1)
    return shown(path)


def _level(path: str, status: int, facts: RequestFacts) -> int:
    if status == 499 or facts.error == "cancelled":
        return logging.INFO
    if status >= 500 or (facts.error and status < 400):
        return logging.ERROR
    if status >= 400:
        return logging.WARNING
    return logging.DEBUG if path in _PROBES or path.startswith("/ui") else logging.INFO


def _id_in(headers: Iterable[tuple[bytes, bytes]]) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == b"x-request-id"), "")
