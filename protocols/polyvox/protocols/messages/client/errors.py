"""The error document of Anthropic Messages, for whole answers and for streams."""

from collections.abc import Mapping

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind, ModelError

_TYPE_OF_STATUS: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""``error.type`` by status, as in the API's documentation of errors.

Other statuses below 500 are ``invalid_request_error``, others from 500 on ``api_error``.
"""

_STATUS = {503: 529}
"""This protocol reports an overload as 529, others as 503."""

_EVENT_STATUS: Mapping[ErrorKind, int] = {"cancelled": 500}
"""The status whose type an ``error`` event has, if it is not that of a whole answer.

A stream that the server breaks off is worth another try.
"""

_TOO_LONG = "prompt is too long"
"""The text by which Claude Code recognizes that it must compact the conversation."""

_LOGIN = "x-api-key"
"""If the message contains this word, as Anthropic's own refusal does, Claude Code shows only "Not
logged in". But the server's key was refused, and logging in does not help."""

_BROKEN: frozenset[ErrorKind] = frozenset(("unreachable", "stream_cut", "bad_stream", "timeout"))
_AGAIN = "Premature end: try your request again."
_AGAIN_WORDS = ("premature end", "try your request again")
"""The texts by which the Continue CLI and OpenCode recognize that they may retry: a stream has no
status, and they do not read the type."""


def render_error(error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
    """Return HTTP status and error document; see ``ResponseEncoder.render_error``."""
    status = _status(error)
    return status, _document(error, status, error.message, run_id)


def render_event(error: ModelError, run_id: str | None) -> dict[str, Json]:
    """Return the document of a stream's ``error`` event."""
    message = error.message
    if error.kind in _BROKEN and not all(words in message.lower() for words in _AGAIN_WORDS):
        message = f"{message} {_AGAIN}"
    return _document(error, _EVENT_STATUS.get(error.kind, _status(error)), message, run_id)


def _status(error: ModelError) -> int:
    return _STATUS.get(error.http_status, error.http_status)


def _document(error: ModelError, status: int, message: str, run_id: str | None) -> dict[str, Json]:
    if error.kind == "context_length" and _TOO_LONG not in message.lower():
        message = f"{_TOO_LONG}: {message}"
    if error.kind == "provider_authentication":
        message = message.replace(_LOGIN, "API key")
    if run_id is not None:
        message = f"{message} (run {run_id})"
    other = "invalid_request_error" if status < 500 else "api_error"
    inner: dict[str, Json] = {"type": _TYPE_OF_STATUS.get(status, other), "message": message}
    details = _details(error.body)
    if details is not None:
        inner["details"] = details
    return {"type": "error", "error": inner, "request_id": run_id}


def _details(body: str | None) -> Json:
    """Return ``error.details`` of a provider of this protocol."""
    if not body:
        return None
    try:
        document = parse_json(body)
    except orjson.JSONDecodeError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    return details if isinstance(details, dict) and "error_code" in details else None
