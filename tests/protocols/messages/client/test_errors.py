from typing import get_args

import pytest

from polyvox.protocols.messages.client import response as messages_response
from polyvox.protocols.messages.client.errors import render_event
from polyvox.protocols.messages.provider import request as provider
from polyvox.workflows.errors import ErrorKind, ModelError


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_every_kind_of_error_has_its_place_in_the_taxonomy(kind: ErrorKind) -> None:
    status, document = messages_response.render_error(ModelError(kind, "why"), "r1")
    assert status >= 400
    message = document["error"]["message"]
    assert "why" in message
    assert message.endswith("(run r1)")
    assert (status == 401) == (kind == "authentication")


def test_an_error_of_the_same_protocol_keeps_its_details() -> None:
    body = b'{"type":"error","error":{"type":"x","message":"m","details":{"error_code":"c"}}}'
    error = provider.parse_error(400, {}, body)
    assert messages_response.render_error(error, None) == (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "m",
                "details": {"error_code": "c"},
            },
            "request_id": None,
        },
    )


def test_a_full_context_is_said_in_the_words_clients_know() -> None:
    """Claude Code compacts the conversation when it reads them."""
    _, document = messages_response.render_error(ModelError("context_length", "9 > 8"), None)
    assert document["error"]["message"] == "prompt is too long: 9 > 8"


def test_a_provider_s_refusal_of_the_server_s_key_sends_nobody_to_a_login() -> None:
    """At the word in Anthropic's own refusal, Claude Code tells its user to log in."""
    body = b'{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}'
    error = provider.parse_error(401, {}, body)
    status, document = messages_response.render_error(error, None)
    assert (status, document["error"]["message"]) == (401, "invalid API key")


@pytest.mark.parametrize("kind", ["stream_cut", "bad_stream", "unreachable", "timeout"])
def test_what_broke_on_the_way_is_said_to_be_worth_another_try(kind: ErrorKind) -> None:
    """The Continue CLI and OpenCode ask again when they read it: a stream has no status."""
    for message in ("It broke.", "It broke. Premature end: try your request again."):
        document = render_event(ModelError(kind, message), None)
        assert document["error"]["message"] == "It broke. Premature end: try your request again."


def test_a_plain_error_says_only_what_happened() -> None:
    """There the status tells that another try may help."""
    _, document = messages_response.render_error(ModelError("unreachable", "It broke."), None)
    assert document["error"]["message"] == "It broke."
