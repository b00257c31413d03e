"""Known secrets are found in every usual spelling, and however a text is cut."""

import base64
import html
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.activities.model_call.provider import Provider
from polyvox.activities.model_call.redaction import (
    MARK,
    RedactedEvents,
    Redaction,
    known_secrets,
    sent_secrets,
)
from polyvox.workflows.conversation import Text, ToolCall
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta, PartEnded, PartStarted

SECRET = "canary/Zx81+q4&mauve==é"
REDACTION = Redaction([SECRET])


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        f"Bearer {SECRET}",
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(SECRET).replace("/", "\\/"),
        json.dumps({"body": json.dumps({"key": SECRET})}),
        repr({"key": SECRET}),
        html.escape(SECRET),
        quote(SECRET),
        quote(SECRET, safe=""),
        re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe="")),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        *(
            base64.b64encode((before + SECRET + ":x").encode()).decode()
            for before in ("", "u", "us")
        ),
        base64.urlsafe_b64encode(f"user:{SECRET}".encode()).decode(),
    ],
)
def test_a_secret_is_replaced_in_each_usual_spelling(spelled: str) -> None:
    """In texts and in bytes; what stands around it is kept."""
    clean = REDACTION.text(f"before {spelled} after")
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert MARK in clean
    assert "Zx81" not in clean
    assert REDACTION.data(f"before {spelled} after".encode()).decode() == clean


def test_a_secret_that_may_be_a_word_is_left() -> None:
    """Eight characters are the least; a shorter one would change innocent answers."""
    assert Redaction(["test", "1234567"]).text("a test of 1234567") == "a test of 1234567"
    assert Redaction(["12345678"]).text("<12345678>") == f"<{MARK}>"
    assert not Redaction(["", "test"])


@given(
    st.lists(st.sampled_from([SECRET, SECRET[:9], "canary", "cana", "é", "a b", "\n"])), st.data()
)
def test_no_cut_of_a_text_lets_a_secret_through(words: list[str], data: st.DataObject) -> None:
    """At most its first three characters have been shown before it was known."""
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    stream = REDACTION.stream()
    shown = "".join(map(stream.feed, pieces)) + stream.finish()
    assert SECRET[3:] not in shown
    assert shown.count(MARK) == text.count(SECRET)
    if SECRET not in text:
        assert shown == text
    body = REDACTION.byte_stream()
    raw = text.encode()
    read = b"".join(body.feed(raw[at : at + 5]) for at in range(0, len(raw), 5)) + body.finish()
    assert SECRET[3:].encode() not in read
    assert read.count(MARK.encode()) == text.count(SECRET)


def test_a_text_without_secrets_does_not_wait() -> None:
    """Each piece is shown as it comes, if it does not begin a secret."""
    stream = REDACTION.stream()
    assert [stream.feed(piece) for piece in ("can", "not c", "an")] == ["can", "not c", "an"]


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_the_words_of_a_model_are_rewritten_over_several_events(size: int) -> None:
    """The whole part says what was shown of it."""
    said = f"The key is {SECRET}, and no other."
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    for begun, ended in (
        (Text(""), Text(said)),
        (ToolCall("id", "tool", ""), ToolCall("id", "tool", said)),
    ):
        events: list[Event] = [PartStarted(begun), *map(PartDelta, pieces), PartEnded(ended)]
        rewriting = RedactedEvents(REDACTION)
        got = [event for one in events for event in rewriting.feed([one])]
        shown = "".join(event.text for event in got if isinstance(event, PartDelta))
        assert SECRET[3:] not in shown
        last = got[-1]
        assert isinstance(last, PartEnded)
        assert isinstance(last.part, Text | ToolCall)
        assert (last.part.text if isinstance(last.part, Text) else last.part.arguments) == shown


def test_an_error_keeps_its_kind_and_loses_its_secrets_and_its_cause() -> None:
    """A cause has a message of its own, which the engine's history would keep."""
    error = ModelError("rate_limit", f"No: {SECRET}", code=SECRET, body=SECRET, param=SECRET)
    error.__cause__ = ValueError(SECRET)
    clean = REDACTION.error(error)
    assert clean.kind == "rate_limit"
    assert (clean.message, clean.code, clean.body, clean.param) == (f"No: {MARK}", MARK, MARK, MARK)
    assert str(clean) == clean.message
    assert clean.__cause__ is None
    assert clean.__suppress_context__


def test_secrets_are_found_where_a_server_has_them() -> None:
    """Keys, headers that are named like secrets, proxies' passwords and the exporter's headers."""
    headers = {
        "x-team": "visible-team",
        "X-Api-Token": "canary-token",
        "x-auth": "Bearer canary-bearer",
        "x-basic-auth": "Basic " + base64.b64encode(b"user:canary-password").decode(),
        "anthropic-version": "2023-06-01",
    }
    provider = Provider("p", "chat", "http://somewhere/v1", "P_KEY", headers)
    other = Provider("other", "chat", "http://elsewhere/v1", "OTHER_KEY")
    environ = {
        "P_KEY": "canary-key\n",
        "OTHER_KEY": "canary-other",
        "https_proxy": "http://user:canary%2Dproxy@proxy:3128",
        "POLYVOX_KEY": "canary-own",
        "POLYVOX_ADMIN_KEY": "canary-admin",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=Bearer%20canary-span,b=canary-two",
        "UNRELATED": "unrelated",
    }
    sent = sent_secrets(provider, environ)
    assert {"canary-key", "canary-token", "canary-bearer", "canary-password"} <= sent
    assert {"canary%2Dproxy", "canary-proxy"} <= sent
    known = known_secrets([provider, other], environ)
    assert sent | {"canary-other", "canary-own", "canary-admin"} <= known
    assert {"canary-span", "canary-two"} <= known
    assert not known & {"visible-team", "2023-06-01", "unrelated"}
