"""How a Responses answer ends: status, incomplete reason and usage, both ways."""

from collections.abc import Iterable

from polyvox.protocols.token_counts import count
from polyvox.workflows.conversation import Json, Part, Refusal, ToolCall
from polyvox.workflows.reply import FinishReason, Usage

FINISH_OF_INCOMPLETE: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "refusal",
}

STATUS_OF_FINISH: dict[FinishReason, tuple[str, str | None]] = {
    "stop": ("completed", None),
    "tool_calls": ("completed", None),
    "length": ("incomplete", "max_output_tokens"),
    "refusal": ("incomplete", "content_filter"),
    # No status here asks to go on; an unfinished answer must at least not look finished.
    "pause": ("incomplete", "max_output_tokens"),
}
"""Status and ``incomplete_details.reason``; a refusal in words is ``completed`` (status_of)."""


def finish_reason(response: dict[str, Json], parts: Iterable[Part]) -> FinishReason:
    """Read why a finished response ended; a call in it is the reason when nothing was cut."""
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details") or {}
        return FINISH_OF_INCOMPLETE.get(str(details.get("reason")), "length")
    finish: FinishReason = "stop"
    for part in parts:
        if isinstance(part, ToolCall):
            return "tool_calls"
        if isinstance(part, Refusal):
            finish = "refusal"
    return finish


def status_of(finish: FinishReason, parts: Iterable[Part]) -> tuple[str, str | None]:
    """Return the status and incomplete reason that say ``finish`` of an answer of ``parts``."""
    if finish == "refusal" and any(isinstance(part, Refusal) for part in parts):
        return "completed", None
    return STATUS_OF_FINISH[finish]


def parse_usage(json: Json) -> Usage:
    """Read a usage object. ``input_tokens`` there counts cached and written tokens as well."""
    whole = count(json, "input_tokens")
    read = count(json, "input_tokens_details", "cached_tokens")
    write = count(json, "input_tokens_details", "cache_write_tokens")
    return Usage(
        input=None if whole is None else max(0, whole - (read or 0) - (write or 0)),
        cache_read=read,
        cache_write=write,
        output=count(json, "output_tokens"),
        reasoning=count(json, "output_tokens_details", "reasoning_tokens"),
    )


def render_usage(usage: Usage) -> dict[str, Json]:
    """Render a usage object with every required member; unknown meters count as zero."""
    output = usage.output or 0
    return {
        "input_tokens": usage.whole_input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read or 0,
            "cache_write_tokens": usage.cache_write or 0,
        },
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": usage.whole_input + output,
    }
