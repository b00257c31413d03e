"""Writes errors in OpenAI's taxonomy: ``{"error": {"message", "type", "param", "code"}}``."""

from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind, ModelError

TYPE_AND_CODE: dict[ErrorKind, tuple[str, str | None]] = {
    "invalid_request": ("invalid_request_error", "invalid_value"),
    "unsupported": ("invalid_request_error", "unsupported_parameter"),
    "context_length": ("invalid_request_error", "context_length_exceeded"),
    "authentication": ("authentication_error", "invalid_api_key"),
    "billing": ("invalid_request_error", "billing_not_active"),
    "permission": ("permission_error", "insufficient_permissions"),
    "not_found": ("invalid_request_error", "not_found"),
    "model_not_found": ("invalid_request_error", "model_not_found"),
    "conflict": ("conflict", "conflict"),
    "too_large": ("invalid_request_error", "request_too_large"),
    "unprocessable": ("invalid_request_error", None),
    "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
    "quota": ("insufficient_quota", "insufficient_quota"),
    "cancelled": ("invalid_request_error", "response_cancelled"),
    "provider_error": ("server_error", "server_error"),
    "provider_authentication": ("server_error", "provider_authentication"),
    "unreachable": ("server_error", "provider_unreachable"),
    "stream_cut": ("server_error", "stream_cut"),
    "bad_stream": ("server_error", "bad_stream"),
    "overloaded": ("server_error", "server_is_overloaded"),
    "timeout": ("server_error", "timeout"),
    "flow_error": ("invalid_request_error", "flow_error"),
    "internal": ("server_error", "internal_error"),
}

_TYPE_OF_STATUS = {
    401: "authentication_error",
    408: "timeout_error",
    **dict.fromkeys(range(500, 600), "server_error"),
}
"""The types of statuses that errors of several kinds have."""

_STATUS = {529: 503}


def error_status(error: ModelError) -> int:
    """Return the HTTP status for the client; OpenAI has no 529."""
    return _STATUS.get(error.http_status, error.http_status)


def error_object(
    error: ModelError, run_id: str | None, status: int | None = None
) -> dict[str, Json]:
    """Return the error object: the provider's own message, and the run in which it happened.

    Its type agrees with ``status``, by default that of ``error_status``. Its code is the provider's
    own, unless that only repeats a status.
    """
    kind, code = TYPE_AND_CODE[error.kind]
    own = error.code if error.code and not error.code.isdecimal() else None
    return {
        "message": error_message(error, run_id),
        "type": _TYPE_OF_STATUS.get(status or error_status(error), kind),
        "param": error.param,
        "code": own or code,
    }


def error_message(error: ModelError, run_id: str | None) -> str:
    """Return the message; agents parse from its text how long a rate limit lasts."""
    message = error.message
    wait_s = error.retry_after_s
    if error.kind == "rate_limit" and wait_s is not None and "try again in" not in message:
        message = f"{message} Please try again in {wait_s:g}s."
    return f"{message} (run {run_id})" if run_id else message
