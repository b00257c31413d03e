"""Reads errors in OpenAI's spelling, from an error answer or from an event in a stream.

The body is ``{"error": {"message", "type", "param", "code"}}``. Many compatible servers send only
part of it, another shape, or a proxy's page, so the HTTP status decides.
"""

import re
from collections.abc import Mapping

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.provider_failures.kinds import code_for_clients, kind_by_words, rate_by_words
from polyvox.protocols.provider_failures.texts import message_of, own_text
from polyvox.protocols.retry_after import retry_after_s
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind, ModelError, kind_of_status

KIND_OF_CODE: dict[str, ErrorKind] = {
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "billing",
    "context_length_exceeded": "context_length",
    "engine_overloaded": "overloaded",
    "insufficient_permissions": "permission",
    "insufficient_quota": "quota",
    "internal_error": "provider_error",
    "invalid_api_key": "provider_authentication",
    "invalid_prompt": "invalid_request",
    "model_not_found": "model_not_found",
    "rate_limit_exceeded": "rate_limit",
    "server_error": "provider_error",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
    "timeout": "timeout",
    "unsupported_country_region_territory": "permission",
    "vector_store_timeout": "timeout",
}

KIND_OF_TYPE: dict[str, ErrorKind] = {
    "authentication_error": "provider_authentication",
    "billing_error": "billing",
    "insufficient_quota": "quota",
    "invalid_request_error": "invalid_request",
    "overloaded_error": "overloaded",
    "permission_error": "permission",
    "rate_limit_error": "rate_limit",
    "server_error": "provider_error",
    "timeout_error": "timeout",
    "usage_limit_reached": "quota",
}

_AGAIN = re.compile(r"try again in (\d+(?:\.\d+)?)\s*(ms|s)\b")
_LONGEST_BODY = 4096


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
    """Read an error answer; ``headers`` have lower-case names.

    Google puts a list around the object.
    """
    text = body[:_LONGEST_BODY].decode("utf-8", "replace")
    try:
        json = parse_json(body)
    except orjson.JSONDecodeError:
        json = None
    if isinstance(json, list) and json:
        json = json[0]
    said = json.get("error", json) if isinstance(json, dict) else json
    error = said if isinstance(said, dict) else {"message": said if isinstance(said, str) else None}
    return _error(error, status, retry_after_s(headers), text)


def parse_event(error: Json) -> ModelError:
    """Read the error of an event in a stream that had begun with status 200.

    OpenRouter, vLLM and LiteLLM send the status as its code, as a number or in digits.
    """
    said = error if isinstance(error, dict) else {"message": error}
    code = str(said.get("code"))
    status = int(code) if len(code) == 3 and code.isdecimal() and "400" <= code < "600" else None
    return _error(said, status, None, None)


def _error(
    error: dict[str, Json], status: int | None, wait_s: float | None, body: str | None
) -> ModelError:
    code, kind_name = str(error.get("code")), str(error.get("type"))
    said = message_of(error)
    kind = (
        kind_by_words(status, own_text(error, said), code, kind_name)
        or KIND_OF_CODE.get(code)
        or (KIND_OF_TYPE.get(kind_name) if status is None else None)
        or rate_by_words(status, said)
        or _kind_of_status(status, kind_name)
        or KIND_OF_TYPE.get(kind_name, "provider_error")
    )
    message = said or _nameless(status, body)
    return ModelError(
        kind,
        message,
        status=status,
        retry_after_s=_wait_in(message) if wait_s is None else wait_s,
        param=error["param"] if isinstance(error.get("param"), str) else None,
        code=code_for_clients(kind, error.get("code")),
        body=body,
    )


def _kind_of_status(status: int | None, kind_name: str) -> ErrorKind | None:
    if status is None:
        return None
    if status == 429 and kind_name in KIND_OF_TYPE:
        return KIND_OF_TYPE[kind_name]
    return kind_of_status(status)


def _nameless(status: int | None, body: str | None) -> str:
    said = f": {body[:200]!r}" if body else "."
    return f"The provider failed{f' with status {status}' if status else ''}{said}"


def _wait_in(message: str) -> float | None:
    found = _AGAIN.search(message)
    if found is None:
        return None
    return float(found[1]) * (0.001 if found[2] == "ms" else 1.0)
