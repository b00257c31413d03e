"""The error document of Anthropic Messages, for plain answers and for streams alike."""

from collections.abc import Mapping

import orjson

from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind, ModelError

_TAXONOMY: Mapping[ErrorKind, tuple[int, str]] = {
    "invalid_request": (400, "invalid_request_error"),
    "unsupported": (400, "invalid_request_error"),
    "context_length": (400, "invalid_request_error"),
    "authentication": (401, "authentication_error"),
    "billing": (402, "billing_error"),
    "permission": (403, "permission_error"),
    "not_found": (404, "not_found_error"),
    "model_not_found": (404, "not_found_error"),
    "conflict": (409, "conflict_error"),
    "too_large": (413, "request_too_large"),
    "unprocessable": (422, "invalid_request_error"),
    "rate_limit": (429, "rate_limit_error"),
    "quota": (429, "rate_limit_error"),
    "cancelled": (499, "api_error"),
    "provider_error": (502, "api_error"),
    "provider_authentication": (502, "api_error"),
    "unreachable": (502, "api_error"),
    "stream_cut": (502, "api_error"),
    "bad_stream": (502, "api_error"),
    "overloaded": (529, "overloaded_error"),
    "timeout": (504, "timeout_error"),
    "flow_error": (500, "api_error"),
    "internal": (500, "api_error"),
}
"""HTTP status and ``error.type`` by kind, after the API's own table.

The provider's status is not used: 401 from upstream would tell the client that its own key is
wrong, and this protocol says overload as 529 where others say 503.
"""

_TOO_LONG = "prompt is too long"
"""The words by which Claude Code knows that it must compact the conversation."""


def render_error(error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
    """Return HTTP status and error document; see ``front.Front.render_error``."""
    status, name = _TAXONOMY[error.kind]
    message = error.message
    if error.kind == "context_length" and _TOO_LONG not in message.lower():
        message = f"{_TOO_LONG}: {message}"
    if run_id is not None:
        message = f"{message} (run {run_id})"
    inner: dict[str, Json] = {"type": name, "message": message}
    details = _details(error.body)
    if details is not None:
        inner["details"] = details
    return status, {"type": "error", "error": inner, "request_id": run_id}


def _details(body: str | None) -> Json:
    """Return ``error.details`` of a provider that speaks this protocol too."""
    if not body:
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    return details if isinstance(details, dict) and "error_code" in details else None
