"""Errors in the words of Chat Completions: ``{"error": {message, type, param, code}}``."""

from typing import Final

from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind, ModelError

# Kind: ``type`` and, where OpenAI has a word for it, ``code``.
WORDS: Final[dict[ErrorKind, tuple[str, str | None]]] = {
    "invalid_request": ("invalid_request_error", None),
    "unsupported": ("invalid_request_error", "unsupported_parameter"),
    "context_length": ("invalid_request_error", "context_length_exceeded"),
    "authentication": ("invalid_request_error", "invalid_api_key"),
    "billing": ("billing_error", "billing_not_active"),
    "permission": ("permission_error", "insufficient_permissions"),
    "not_found": ("invalid_request_error", "not_found"),
    "model_not_found": ("invalid_request_error", "model_not_found"),
    "conflict": ("conflict", "conflict"),
    "too_large": ("invalid_request_error", "request_too_large"),
    "unprocessable": ("invalid_request_error", None),
    "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
    "quota": ("insufficient_quota", "insufficient_quota"),
    "cancelled": ("server_error", "request_cancelled"),
    "provider_error": ("server_error", "provider_error"),
    "provider_authentication": ("server_error", "provider_authentication"),
    "unreachable": ("server_error", "provider_unreachable"),
    "stream_cut": ("server_error", "stream_cut"),
    "bad_stream": ("server_error", "bad_stream"),
    "overloaded": ("server_error", "server_is_overloaded"),
    "timeout": ("server_error", "timeout"),
    "flow_error": ("server_error", "flow_error"),
    "internal": ("server_error", "internal_error"),
}


def error_document(error: ModelError, run_id: str | None) -> dict[str, Json]:
    """Return the error document; all four members are always there.

    A code is the provider's own where it gave one. A run's id stands in the message, because
    clients show nothing else.
    """
    word, code = WORDS[error.kind]
    message = error.message if run_id is None else f"{error.message} (run {run_id})"
    return {
        "error": {
            "message": message,
            "type": word,
            "param": error.param,
            "code": error.code or code,
        }
    }
