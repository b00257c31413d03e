"""A prompt that is too long, in the words of every server, as every client must read it."""

import orjson
import pytest

from polyvox.protocols.client_side import Ask
from polyvox.protocols.provider_failures.too_long import (
    NOT_THE_PROMPT,
    RATES,
    TOO_LONG,
    is_too_long,
)
from polyvox.protocols.sse import FrameSplitter
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation, Json, user
from polyvox.workflows.errors import ModelError
from tests.samples.too_long import SOMETHING_ELSE
from tests.samples.too_long import TOO_LONG as ANSWERS

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)
answers = pytest.mark.parametrize(
    ("status", "body"), [(a[1], a[2]) for a in ANSWERS], ids=[a[0] for a in ANSWERS]
)


def check_for_clients(error: ModelError) -> None:
    """Check what every client gets, whole and in a stream."""
    assert error.kind == "context_length"
    for name, record in PROTOCOLS.items():
        status, document = record.answers.render_error(error, "r1")
        assert status == 400
        assert document["error"]["type"] == "invalid_request_error"
        ask = Ask(name, "m", Conversation((user("hi"),)), stream=True)
        sent = record.answers.encoder(ask, run_id="r1", created=1).fail(error)
        if name == "messages":
            assert "prompt is too long" in document["error"]["message"].lower()
            assert b"prompt is too long" in sent.lower()
            assert b'"type":"invalid_request_error"' in sent
        else:
            assert document["error"]["code"] == "context_length_exceeded"
            codes = {e["code"] for e in errors_in(sent)}
            assert codes == {"context_length_exceeded"}


def errors_in(sent: bytes) -> list[Json]:
    """Return the error objects of a Chat or Responses stream."""
    events = [orjson.loads(d) for _, d in FrameSplitter().feed(sent) if d != b"[DONE]"]
    found = [event.get("error") or event.get("response", {}).get("error") for event in events]
    return [error for error in found if error]


@protocols
@answers
def test_an_answer_that_says_so_is_recognized(protocol: str, status: int, body: Json) -> None:
    """Whatever the provider's protocol: many servers speak several, in the same words."""
    error = PROTOCOLS[protocol].provider.parse_error(status, {}, orjson.dumps(body))
    assert error.status == status
    check_for_clients(error)


@protocols
@answers
def test_any_status_may_carry_it(protocol: str, status: int, body: Json) -> None:
    """A gateway before the server often changes it."""
    for other in {status, 400, 413, 422, 500, 503}:
        error = PROTOCOLS[protocol].provider.parse_error(other, {}, orjson.dumps(body))
        assert (error.kind, error.http_status) == ("context_length", 400)


@protocols
@answers
def test_it_is_recognized_in_a_stream(protocol: str, status: int, body: Json) -> None:
    """A server that has begun with status 200 sends it as an event, named or not."""
    document = body[0] if isinstance(body, list) else body
    inner = document.get("error", document)
    inner = inner if isinstance(inner, dict) else {"message": inner}
    events: dict[str, list[tuple[str | None, Json]]] = {
        "chat": [(None, {"error": inner}), ("error", document)],
        "messages": [("error", {"type": "error", "error": inner})],
        "responses": [
            ("error", {"type": "error", "error": inner}),
            ("response.failed", {"type": "response.failed", "response": {"error": inner}}),
        ],
    }
    for name, event in events[protocol]:
        with pytest.raises(ModelError) as caught:
            PROTOCOLS[protocol].provider.decoder().feed(name, orjson.dumps(event))
        check_for_clients(caught.value)


@protocols
@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [other[1:] for other in SOMETHING_ELSE],
    ids=[other[0] for other in SOMETHING_ELSE],
)
def test_what_only_sounds_like_it_is_something_else(
    protocol: str, status: int, kind: str, message: str
) -> None:
    """An agent that shortened its conversation for these would lose it for nothing."""
    body = orjson.dumps({"error": {"message": message}})
    error = PROTOCOLS[protocol].provider.parse_error(status, {}, body)
    assert (error.kind, error.message) == (kind, message)
    assert not is_too_long(message)


def test_every_wording_has_a_source_and_a_date() -> None:
    """At least eighteen servers are known by name."""
    for wording in (*TOO_LONG, *RATES, *NOT_THE_PROMPT):
        assert wording.source.startswith("https://")
        assert len(wording.date) == len("2026-01-01")
        assert all(word == word.lower() for word in wording.words)
    servers = {server.strip() for wording in TOO_LONG for server in wording.server.split(",")}
    assert len(servers) >= 18


@protocols
def test_a_rate_in_a_stream_is_recognized_by_its_words(protocol: str) -> None:
    """Bedrock's text, as gateways pass it on; a code or type that says more comes first."""
    said = {"message": "Too many tokens, please wait before trying again."}
    name = {"chat": None, "responses": "error", "messages": "error"}[protocol]
    kinds = []
    for more in ({}, {"type": "overloaded_error"}, {"type": "api_error"}):
        event = orjson.dumps({"type": "error", "error": {**said, **more}})
        with pytest.raises(ModelError) as caught:
            PROTOCOLS[protocol].provider.decoder().feed(name, event)
        kinds.append(caught.value.kind)
    assert kinds == ["rate_limit", "overloaded", "rate_limit"]
