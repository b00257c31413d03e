"""HTTP responses in JSON: a ModelError in the protocol of its request, and any document."""

import logging
import math
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from polyvox.activities.storage.database import storage_failure
from polyvox.gateway.http.json_bytes import json_bytes
from polyvox.protocols.openai.client_errors import TYPE_AND_CODE
from polyvox.protocols.wire_protocol import WireProtocol, protocol_at
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind, ModelError

log = logging.getLogger(__name__)

STORE_RETRY_S = 5.0

Headers = list[tuple[bytes, bytes]]

_WAIT_S: dict[int, float] = {429: 1, 503: 2, 529: 2}
"""``retry-after`` by status. Without it, Codex gives up at once on a 429."""

_LONGEST_WAIT_S = 86_400.0
"""A provider may send any number; a client should not wait for years."""

_REPEATED = (401, 408, 409, 429)
"""The statuses below 500 that clients retry by themselves."""


def protocol_of(request: Request) -> WireProtocol:
    """Return the protocol in which ``request`` is answered."""
    runtime: Runtime = request.app.state.runtime
    return protocol_at(runtime.protocols, request.url.path, request.headers)


_MAY_PASS: tuple[ErrorKind, ...] = ("cancelled", "internal")
"""Kinds that are not retried here, but whose cause may have passed when a client tries again."""


def is_codex(headers: Mapping[str, str]) -> bool:
    """Return whether the client is Codex; its programs name themselves ``codex_exec/0.169.0``."""
    return headers.get("user-agent", "").lower().startswith("codex")


def error_for(error: ModelError, headers: Mapping[str, str]) -> ModelError:
    """Return ``error`` as the client with these request ``headers`` (lower-case names) needs it.

    Codex repeats a request after any status but 400 (measured with 0.169: six requests after a
    401, thirty after a 500) and ignores ``x-should-retry``. Where another try cannot help, it gets
    a 400 with the usual code, at which it stops and shows the message. Other clients get the usual
    status, from which SDKs make their exceptions.
    """
    lasts = not error.fault.retryable and error.kind not in _MAY_PASS
    if not lasts or not is_codex(headers):
        return error
    code = error.code or TYPE_AND_CODE[error.kind][1]
    kind: ErrorKind = "context_length" if error.kind == "context_length" else "invalid_request"
    return ModelError(kind, error.message, param=error.param, code=code, body=error.body)


def retry_headers(error: ModelError, status: int) -> Headers:
    """Return ``retry-after`` (whole seconds, rounded up) where a retry may help.

    Where it cannot, return ``x-should-retry: false``, which Claude Code and the OpenAI and
    Anthropic SDKs follow. Without it they retry: a flow's own error costs its calls each time, and
    for a provider's missing key Claude Code waits for minutes without a message.
    """
    if not error.fault.retryable:
        return [(b"x-should-retry", b"false")] if status in _REPEATED or status >= 500 else []
    wait_s = error.retry_after_s if error.retry_after_s is not None else _WAIT_S.get(status)
    if wait_s is None or not math.isfinite(wait_s):
        return []
    wait_s = min(wait_s, _LONGEST_WAIT_S)
    return [(b"retry-after", str(max(1, -int(-wait_s // 1))).encode())]


def defect_error(defect: Exception, what: str) -> ModelError:
    """Log an unexpected exception at ``what``, and return the error that a client gets for it.

    A store that cannot be used now, such as on a full disk, is no defect: it is logged without a
    traceback, and the client may try again.
    """
    if reason := storage_failure(defect):
        log.error("%s: a store cannot be used: %s. /readyz says which.", what, reason)
        return ModelError(
            "overloaded",
            f"The server cannot use one of its stores ({reason}). Its operator must check the "
            "disk of the data folder, or the database server.",
            retry_after_s=STORE_RETRY_S,
        )
    log.error("%s: unexpected error", what, exc_info=defect)
    return ModelError("internal", f"{type(defect).__name__} in the gateway; see its log.")


class JsonResponse(Response):
    """A JSON document, written by ``json_bytes``."""

    media_type = "application/json"

    def render(self, content: Json) -> bytes:
        return json_bytes(content)
