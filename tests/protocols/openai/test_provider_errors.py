"""What an upstream says when it fails, in OpenAI's spelling."""

import json

import pytest

from polyvox.protocols.provider_side import ProviderProtocol
from polyvox.protocols.responses.provider import request as responses
from polyvox.workflows.conversation import (
    Json,
)
from polyvox.workflows.errors import ModelError
from tests.samples.responses import decode, recorded, spelled

DIALECT: ProviderProtocol = responses


def test_an_error_event_is_an_error_of_its_own_kind() -> None:
    """The provider's message and code are kept for the client."""
    with pytest.raises(ModelError) as caught:
        recorded("error")
    assert (caught.value.kind, caught.value.code) == ("quota", "insufficient_quota")
    assert caught.value.message.startswith("You exceeded your current quota")


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"type": "error", "code": "server_error", "message": "m"}, "provider_error"),
        ({"type": "error", "message": "flat"}, "provider_error"),
        ({"type": "error", "error": {"code": "context_length_exceeded"}}, "context_length"),
        (
            {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}},
            "rate_limit",
        ),
        ({"type": "response.failed", "response": {"error": None}}, "provider_error"),
        ({"type": "response.cancelled", "response": {"status": "cancelled"}}, "provider_error"),
    ],
)
def test_every_failing_event_has_its_kind(event: dict[str, Json], kind: str) -> None:
    """A failure in the stream is never an answer."""
    with pytest.raises(ModelError) as caught:
        decode(spelled(event))
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "m", "type": "invalid_request_error"}, "invalid_request"),
        (400, {"message": "m", "code": "context_length_exceeded"}, "context_length"),
        (400, {"message": "m", "code": "model_not_found"}, "model_not_found"),
        (401, {"message": "m", "code": "invalid_api_key"}, "provider_authentication"),
        (403, {"message": "m"}, "permission"),
        (404, {"message": "m"}, "not_found"),
        (413, {"message": "m"}, "too_large"),
        (429, {"message": "m", "type": "tokens", "code": "rate_limit_exceeded"}, "rate_limit"),
        (429, {"message": "m", "type": "insufficient_quota"}, "quota"),
        (500, {"message": "m", "type": "server_error"}, "provider_error"),
        (503, {"message": "m"}, "overloaded"),
    ],
)
def test_an_error_answer_is_read(status: int, error: Json, kind: str) -> None:
    """The code decides where there is one, else the status."""
    body = json.dumps({"error": error}).encode()
    said = DIALECT.parse_error(status, {"retry-after": "2"}, body)
    assert (said.kind, said.message, said.retry_after_s) == (kind, "m", 2.0)
    assert said.code == error.get("code")


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b'{"error":"busy"}', b"[1]"])
def test_an_error_answer_of_another_shape_is_read_too(body: bytes) -> None:
    """Proxies answer as they like; the status still tells whose fault it is."""
    said = DIALECT.parse_error(502, {}, body)
    assert said.kind == "provider_error"
    assert said.status == 502
    assert said.message


def test_the_wait_a_provider_asks_for_is_found_wherever_it_stands() -> None:
    """In a header, or in the words of the message."""
    assert DIALECT.parse_error(429, {"retry-after-ms": "1500"}, b"{}").retry_after_s == 1.5
    body = json.dumps({"error": {"message": "Please try again in 250ms."}}).encode()
    assert DIALECT.parse_error(429, {}, body).retry_after_s == 0.25
