"""Parses and renders how a Responses answer ends: status and incomplete reason."""

from collections.abc import Iterable

from polyvox.workflows.conversation import Json, Part, Refusal, ToolCall
from polyvox.workflows.reply import FinishReason

FINISH_OF_INCOMPLETE: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "refusal",
}

STATUS_OF_FINISH: dict[FinishReason, tuple[str, str | None]] = {
    "stop": ("completed", None),
    "tool_calls": ("completed", None),
    "length": ("incomplete", "max_output_tokens"),
    "refusal": ("incomplete", "content_filter"),
    # No status means "continue"; an unfinished answer must at least not look finished.
    "pause": ("incomplete", "max_output_tokens"),
}
"""Status and ``incomplete_details.reason``; a refusal as text is ``completed`` (status_of)."""


def finish_reason(response: dict[str, Json], parts: Iterable[Part]) -> FinishReason:
    """Read why a finished response ended; with a call in it, ``tool_calls`` unless it was cut."""
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
    """Return status and incomplete reason of an answer of ``parts`` that ends with ``finish``."""
    if finish == "refusal" and any(isinstance(part, Refusal) for part in parts):
        return "completed", None
    return STATUS_OF_FINISH[finish]
