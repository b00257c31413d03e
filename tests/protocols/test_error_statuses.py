"""Status and type of an error agree in every protocol, for every kind and every provider status."""

from itertools import product
from typing import get_args

import orjson
import pytest

from polyvox.protocols.messages.client.errors import render_event
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.errors import FAULTS, ErrorKind, ModelError

KINDS = get_args(ErrorKind)
STATUSES = (None, *range(400, 432), 451, 499, *range(500, 512), 520, 529, 530, 598, 599)

OPENAI = {
    400: {"invalid_request_error"},
    401: {"authentication_error"},
    402: {"invalid_request_error"},
    403: {"permission_error"},
    404: {"invalid_request_error"},
    408: {"timeout_error"},
    409: {"conflict"},
    413: {"invalid_request_error"},
    422: {"invalid_request_error"},
    429: {"rate_limit_error", "insufficient_quota"},
}
MESSAGES = {
    400: {"invalid_request_error"},
    401: {"authentication_error"},
    402: {"billing_error"},
    403: {"permission_error"},
    404: {"not_found_error"},
    408: {"timeout_error"},
    409: {"conflict_error"},
    413: {"request_too_large"},
    429: {"rate_limit_error"},
    504: {"timeout_error"},
    529: {"overloaded_error"},
}
"""https://platform.claude.com/docs/en/api/errors, of November 2026; 408 is not in it."""

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


def allowed(protocol: str, status: int) -> set[str]:
    """Return the types that a protocol has for a status."""
    if protocol == "messages":
        other = {"api_error"} if status >= 500 else {"invalid_request_error"}
        return MESSAGES.get(status, other)
    other = {"server_error"} if status >= 500 else {"invalid_request_error"}
    return OPENAI.get(status, other)


@protocols
@pytest.mark.parametrize("kind", KINDS)
def test_status_and_type_agree(kind: ErrorKind, protocol: str) -> None:
    """Whatever the provider's status was; clients decide by either of them."""
    for given in STATUSES:
        error = ModelError(kind, "why", status=given)
        status, document = PROTOCOLS[protocol].answers.render_error(error, None)
        found = document["error"]["type"]
        assert found in allowed(protocol, status), (given, status)
        retried = status >= 500 or status in (408, 429)
        if FAULTS[kind].retryable:
            assert retried, "a client that may try again is told so by the status"


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_in_a_stream_has_the_type_of_the_status(kind: ErrorKind) -> None:
    """An event has no status; clients of Messages decide by its type alone."""
    for given in STATUSES:
        error = ModelError(kind, "why", status=given)
        _, document = PROTOCOLS["messages"].answers.render_error(error, None)
        expected = "api_error" if kind == "cancelled" else document["error"]["type"]
        assert render_event(error, None)["error"]["type"] == expected


TYPES = {
    "messages": (
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "rate_limit_error",
        "timeout_error",
        "api_error",
        "overloaded_error",
        None,
    ),
    "openai": (
        "invalid_request_error",
        "authentication_error",
        "server_error",
        "insufficient_quota",
        "BadRequestError",
        None,
    ),
}


@pytest.mark.parametrize(("source", "target"), [*product(PROTOCOLS, PROTOCOLS)])
def test_what_a_provider_said_arrives_in_agreement(source: str, target: str) -> None:
    """All statuses with all types of the provider's protocol, also those that contradict."""
    types = TYPES["messages" if source == "messages" else "openai"]
    for given, named in product(STATUSES[1:], types):
        body = orjson.dumps({"type": "error", "error": {"type": named, "message": "why"}})
        error = PROTOCOLS[source].provider.parse_error(given, {}, body)
        status, document = PROTOCOLS[target].answers.render_error(error, None)
        assert document["error"]["type"] in allowed(target, status), (given, named, status)


@protocols
@pytest.mark.parametrize(
    ("status", "kind", "chat", "messages"),
    [
        (503, "overloaded", (503, "server_error"), (529, "overloaded_error")),
        (529, "overloaded", (503, "server_error"), (529, "overloaded_error")),
        (504, "timeout", (504, "server_error"), (504, "timeout_error")),
        (500, "provider_error", (500, "server_error"), (500, "api_error")),
        (502, "provider_error", (502, "server_error"), (502, "api_error")),
    ],
)
def test_a_failing_provider_keeps_what_its_status_says(
    protocol: str,
    status: int,
    kind: str,
    chat: tuple[int, str],
    messages: tuple[int, str],
) -> None:
    """A type such as ``api_error`` or ``server_error`` says less than the status."""
    general = "api_error" if protocol == "messages" else "server_error"
    body = orjson.dumps({"type": "error", "error": {"type": general, "message": "why"}})
    error = PROTOCOLS[protocol].provider.parse_error(status, {}, body)
    assert error.kind == kind
    for name, expected in (("chat", chat), ("responses", chat), ("messages", messages)):
        got, document = PROTOCOLS[name].answers.render_error(error, None)
        assert (got, document["error"]["type"]) == expected
