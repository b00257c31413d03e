"""The error document of Anthropic Messages, for plain answers and for streams alike."""

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
"""``error.type`` by kind, after the API's own table."""

_STATUS = {503: 529}
"""This protocol says overload as 529 where others say 503."""

_TOO_LONG = "prompt is too long"
"""The words by which Claude Code knows that it must compact the conversation."""

_LOGIN = "x-api-key"
"""At this word, which Anthropic's own refusal has, Claude Code says "Not logged in" and nothing of
the message; but it is the server's key that is refused, and no login mends it."""

_BROKEN: frozenset[ErrorKind] = frozenset(("unreachable", "stream_cut", "bad_stream", "timeout"))
_AGAIN = "Premature end: try your request again."
_AGAIN_WORDS = ("premature end", "try your request again")
"""The words by which the Continue CLI and OpenCode know that they may ask again: in a stream there
is no status, and its type says nothing to them."""


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
    """Return ``error.details`` of a provider that speaks this protocol too."""
    if not body:
        return None
    try:
        document = parse_json(body)
    except orjson.JSONDecodeError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    return details if isinstance(details, dict) and "error_code" in details else None
