"""Errors of a Messages provider, from an HTTP answer or from an ``error`` event of its stream."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.provider_failures.kinds import code_for_clients, kind_by_words, rate_by_words
from polyvox.protocols.provider_failures.texts import message_of
from polyvox.protocols.retry_after import retry_after_s
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind, ModelError, kind_of_status

_BY_TYPE: Mapping[str, ErrorKind] = {
    "invalid_request_error": "invalid_request",
    "authentication_error": "provider_authentication",
    "billing_error": "billing",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "conflict_error": "conflict",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limit",
    "timeout_error": "timeout",
    "overloaded_error": "overloaded",
    "api_error": "provider_error",
}

_BY_WORDS: tuple[tuple[ErrorKind, str, ErrorKind], ...] = (
    ("invalid_request", "credit balance is too low", "billing"),
    ("invalid_request", "usage limits", "quota"),
)
"""Kinds that only the message shows: (kind by type, text in the message, actual kind)."""

_GENERAL: frozenset[ErrorKind] = frozenset(("invalid_request", "provider_error"))
"""Kinds whose types say less than a status such as 401 or 503."""

_EXCERPT = 500
"""Characters of an unreadable error body that go into the message."""


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
    """Read an error answer; see ``ProviderProtocol.parse_error``."""
    text = body.decode(errors="replace")
    try:
        document = parse_json(body)
    except orjson.JSONDecodeError:
        document = None
    error = document.get("error", document) if isinstance(document, dict) else document
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict) or not error:
        error = {"message": text.strip()[:_EXCERPT] or _phrase(status)}
    return _model_error(error, status=status, retry_after_s=retry_after_s(headers), body=text)


def parse_error_event(event: dict[str, Json]) -> ModelError:
    """Read an ``error`` event of a stream."""
    error = event.get("error")
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        error = {"message": "The provider broke its stream off with an error it did not name."}
    return _model_error(error, status=None, retry_after_s=None, body=orjson.dumps(event).decode())


def _model_error(
    error: dict[str, Json], *, status: int | None, retry_after_s: float | None, body: str
) -> ModelError:
    name = error.get("type")
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else error.get("code")
    message = message_of(error) or str(name or "The provider gave no message.")
    kind = _kind(status, str(name), str(code), message)
    return ModelError(
        kind,
        message,
        status=status,
        retry_after_s=retry_after_s,
        code=code_for_clients(kind, code),
        body=body,
    )


def _kind(status: int | None, name: str, code: str, message: str) -> ErrorKind:
    if by_words := kind_by_words(status, message, name, code):
        return by_words
    kind = _BY_TYPE.get(name)
    if kind is None or kind in _GENERAL:
        by_status = kind_of_status(status) if status is not None else kind or "provider_error"
        kind = rate_by_words(status, message) or by_status
    lower = message.lower()
    return next((meant for by, words, meant in _BY_WORDS if kind == by and words in lower), kind)


def _phrase(status: int) -> str:
    known = status in {s.value for s in HTTPStatus}
    return f"HTTP {status} {HTTPStatus(status).phrase}" if known else f"HTTP {status}"
