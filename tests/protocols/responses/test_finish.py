"""How a Responses answer ends: status, reason, usage."""

from typing import get_args

from polyvox.protocols.responses import elements as responses
from polyvox.protocols.responses.finish import STATUS_OF_FINISH
from polyvox.workflows.conversation import (
    Part,
    Refusal,
    ToolCall,
)
from polyvox.workflows.reply import FinishReason, Usage


def test_every_finish_reason_has_a_status_that_means_it() -> None:
    """The two tables agree, but for a pause, which this protocol cannot say."""
    assert set(STATUS_OF_FINISH) == set(get_args(FinishReason))
    said: dict[FinishReason, tuple[Part, ...]] = {
        "tool_calls": (ToolCall("c", "f", "{}"),),
        "refusal": (Refusal("no"),),
    }
    for finish in STATUS_OF_FINISH:
        parts = said.get(finish, ())
        status, reason = responses.status_of(finish, parts)
        ended = {"status": status, "incomplete_details": reason and {"reason": reason}}
        if finish != "pause":
            assert responses.finish_reason(ended, parts) == finish
    assert responses.status_of("refusal", ()) == ("incomplete", "content_filter")
    assert responses.finish_reason({"status": "incomplete"}, ()) == "length"


def test_usage_meters_are_disjoint() -> None:
    """Input here includes what was cached and written; ours does not."""
    said = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }
    usage = Usage(input=30, cache_read=60, cache_write=10, output=20, reasoning=5)
    assert responses.parse_usage(said) == usage
    assert responses.render_usage(usage) == said
    assert responses.parse_usage({"input_tokens": 7}) == Usage(input=7)
    assert responses.parse_usage(None) == Usage()
    assert responses.render_usage(Usage())["total_tokens"] == 0
