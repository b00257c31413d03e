"""Marks for the prompt cache keep their place, and their lifetimes are matched."""

import pytest

from polyvox.protocols.messages.cache_control import cache_control_of
from polyvox.protocols.openai.cache_breakpoints import breakpoint_of
from polyvox.workflows.conversation import Json, Text, Wire


@pytest.mark.parametrize(
    ("ttl", "openai"), [(None, {}), ("5m", {"ttl": "30m"}), ("1h", {"ttl": "12h"})]
)
def test_a_messages_mark_becomes_a_breakpoint(ttl: str | None, openai: Json) -> None:
    mark = {"type": "ephemeral", **({"ttl": ttl} if ttl else {})}
    part = Text("a", wire=Wire("messages", {"type": "text", "text": "a", "cache_control": mark}))
    assert breakpoint_of(part) == {"mode": "explicit", **openai}
    assert cache_control_of(part) is None


@pytest.mark.parametrize(("ttl", "messages"), [(None, {}), ("30m", {"ttl": "1h"})])
def test_a_breakpoint_becomes_a_messages_mark(ttl: str | None, messages: Json) -> None:
    """At least as long as was asked for, where the protocol can."""
    mark = {"mode": "explicit", **({"ttl": ttl} if ttl else {})}
    piece = {"type": "text", "text": "a", "prompt_cache_breakpoint": mark}
    chat = Text("a", wire=Wire("chat", {"content": [piece]}))
    responses = Text("a", wire=Wire("responses", {"part": piece}))
    for part in (chat, responses):
        assert cache_control_of(part) == {"type": "ephemeral", **messages}
        assert breakpoint_of(part) == mark


def test_what_is_not_marked_stays_so() -> None:
    assert breakpoint_of(Text("a")) is cache_control_of(Text("a")) is None
