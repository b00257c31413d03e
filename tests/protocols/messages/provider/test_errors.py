import orjson
import pytest

from polyvox.protocols.messages.provider import request as messages
from polyvox.workflows.conversation import (
    Json,
)
from tests.samples.messages import RECORDED


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"type": "invalid_request_error", "message": "no"}, "invalid_request"),
        (
            400,
            {
                "type": "invalid_request_error",
                "message": "prompt is too long: 9 tokens > 8 maximum",
            },
            "context_length",
        ),
        (
            400,
            {"type": "invalid_request_error", "message": "Your credit balance is too low."},
            "billing",
        ),
        (401, {"type": "authentication_error", "message": "bad key"}, "provider_authentication"),
        (404, {"type": "not_found_error", "message": "model: x"}, "model_not_found"),
        (429, {"type": "rate_limit_error", "message": "slow"}, "rate_limit"),
        (500, {"type": "api_error", "message": "oops"}, "provider_error"),
        (529, {"type": "overloaded_error", "message": "busy"}, "overloaded"),
        (418, {"type": "teapot_error", "message": "tea"}, "invalid_request"),
        (599, {"message": "?"}, "provider_error"),
    ],
)
def test_error_answers_are_read_by_type_words_and_status(
    status: int, error: Json, kind: str
) -> None:
    body = orjson.dumps({"type": "error", "error": error})
    found = messages.parse_error(status, {"retry-after": "2.5"}, body)
    assert (found.kind, found.message, found.status) == (kind, error["message"], status)
    assert found.retry_after_s == 2.5


def test_an_unreadable_error_answer_is_read_by_its_status() -> None:
    assert messages.parse_error(503, {}, b"<html>busy").message == "<html>busy"
    assert messages.parse_error(502, {}, b"").message == "HTTP 502 Bad Gateway"
    assert messages.parse_error(599, {"retry-after-ms": "20"}, b"[]").retry_after_s == 0.02


@pytest.mark.parametrize("recorded_error", orjson.loads((RECORDED / "errors.json").read_bytes()))
def test_recorded_errors_keep_their_message(recorded_error: Json) -> None:
    body = recorded_error["body"]
    error = messages.parse_error(recorded_error["status"], {}, orjson.dumps(body))
    assert error.message == body["error"]["message"]
    assert error.fault.status == recorded_error["status"]
