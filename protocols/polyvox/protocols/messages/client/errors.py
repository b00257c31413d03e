"""The error document of Anthropic Messages, for whole answers and for streams."""

from collections.abc import Mapping

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind, ModelError

_TYPES: Mapping[ErrorKind, str] = {
    "invalid_request": "invalid_request_error",
    "unsupported": "invalid_request_error",
    "context_length": "invalid_request_error",
    "authentication": "authentication_error",
    "billing": "billing_error",
    "permission": "permission_error",
    "not_found": "not_found_error",
    "model_not_found": "not_found_error",
    "conflict": "conflict_error",
    "too_large": "request_too_large",
    "unprocessable": "invalid_request_error",
    "rate_limit": "rate_limit_error",
    "quota": "rate_limit_error",
    "cancelled": "api_error",
    "provider_error": "api_error",
    "provider_authentication": "authentication_error",
    "unreachable": "api_error",
    "stream_cut": "api_error",
    "bad_stream": "api_error",
    "overloaded": "overloaded_error",
    "timeout": "timeout_error",
    "flow_error": "api_error",
    "internal": "api_error",
}
"""``error.type`` by kind, following the API's own table."""

_STATUS = {503: 529}
"""This protocol reports an overload as 529, others as 503."""

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
    status = _STATUS.get(error.http_status, error.http_status)
    return status, _document(error, error.message, run_id)


def render_event(error: ModelError, run_id: str | None) -> dict[str, Json]:
    """Return the document of a stream's ``error`` event."""
    message = error.message
    if error.kind in _BROKEN and not all(words in message.lower() for words in _AGAIN_WORDS):
        message = f"{message} {_AGAIN}"
    return _document(error, message, run_id)


def _document(error: ModelError, message: str, run_id: str | None) -> dict[str, Json]:
    if error.kind == "context_length" and _TOO_LONG not in message.lower():
        message = f"{_TOO_LONG}: {message}"
    if error.kind == "provider_authentication":
        message = message.replace(_LOGIN, "API key")
    if run_id is not None:
        message = f"{message} (run {run_id})"
    inner: dict[str, Json] = {"type": _TYPES[error.kind], "message": message}
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
