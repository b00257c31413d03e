"""Tokens written to a cache for an hour and for five minutes are counted apart."""

from typing import Any

import pytest

from polyvox.protocols.chat.usage import parse_usage as from_chat
from polyvox.protocols.chat.usage import render_usage as for_chat
from polyvox.protocols.messages.usage import parse_usage as from_messages
from polyvox.protocols.messages.usage import render_usage as for_messages
from polyvox.protocols.responses.usage import render_usage as for_responses
from polyvox.workflows.reply import Usage

BOTH = Usage(1, 2, 600, 4, cache_write_1h=400)


@pytest.mark.parametrize(
    ("said", "short", "hour"),
    [
        (
            {
                "cache_creation_input_tokens": 1000,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 600,
                    "ephemeral_1h_input_tokens": 400,
                },
            },
            600,
            400,
        ),
        ({"cache_creation_input_tokens": 1000}, 1000, None),
        ({"cache_creation": {"ephemeral_1h_input_tokens": 400}}, 0, 400),
        (
            {
                "cache_creation_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 0},
            },
            7,
            0,
        ),
        ({"cache_creation_input_tokens": 1000, "cache_creation": None}, 1000, None),
        ({"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h": "x"}}, 5, None),
        ({}, None, None),
    ],
    ids=["both", "sum only", "hour only", "no sum", "null", "unknown", "nothing"],
)
def test_a_messages_provider_reports_each(said: Any, short: int | None, hour: int | None) -> None:
    """``cache_creation_input_tokens`` counts both."""
    assert from_messages(said) == Usage(cache_write=short, cache_write_1h=hour)


def test_a_compaction_adds_its_own_writes() -> None:
    """Each iteration has its own breakdown."""
    inner = {"cache_creation_input_tokens": 3, "cache_creation": {"ephemeral_1h_input_tokens": 2}}
    said = {"cache_creation_input_tokens": 4, "cache_creation": {"ephemeral_1h_input_tokens": 1}}
    usage = from_messages({**said, "iterations": [{"type": "compaction", **inner}]})
    assert (usage.cache_write, usage.cache_write_1h) == (4, 3)


def test_a_messages_client_reads_each() -> None:
    """The sum of several calls has a breakdown, too."""
    rendered = for_messages(BOTH + BOTH)
    assert rendered["cache_creation_input_tokens"] == 2000
    assert rendered["cache_creation"] == {
        "ephemeral_5m_input_tokens": 1200,
        "ephemeral_1h_input_tokens": 800,
    }
    assert from_messages(rendered) == BOTH + BOTH
    assert "cache_creation" not in for_messages(Usage(1, 2, 3, 4))


def test_openais_clients_read_the_sum() -> None:
    """Their protocols have one number; the input includes it."""
    chat = for_chat(BOTH)
    assert chat is not None
    assert chat["prompt_tokens"] == for_responses(BOTH)["input_tokens"] == 1003
    assert chat["prompt_tokens_details"]["cache_write_tokens"] == 1000
    assert for_responses(BOTH)["input_tokens_details"]["cache_write_tokens"] == 1000


def test_a_proxy_of_claude_reports_each_in_chat() -> None:
    """LiteLLM's breakdown."""
    details = {
        "cached_tokens": 2,
        "cache_creation_tokens": 1000,
        "cache_creation_token_details": {
            "ephemeral_5m_input_tokens": 600,
            "ephemeral_1h_input_tokens": 400,
        },
    }
    said = {"prompt_tokens": 1003, "completion_tokens": 4, "prompt_tokens_details": details}
    assert from_chat(said) == BOTH


def test_a_sum_with_unreported_meters_keeps_what_is_known() -> None:
    """Unknown is not zero."""
    assert (Usage(cache_write=1) + BOTH).cache_write_1h == 400
    assert (Usage() + Usage(cache_write=1)).cache_write_1h is None
    assert Usage().whole_cache_write is None
    assert BOTH.whole_cache_write == 1000
