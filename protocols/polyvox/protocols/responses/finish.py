"""Parses and renders how a Responses answer ends: status and incomplete reason."""

from collections.abc import Iterable

from polyvox.protocols.decoding.ending import Content, finish_word
from polyvox.workflows.conversation import Json, Part, Refusal
from polyvox.workflows.reply import FinishReason

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
    """Read why a finished response with ``parts`` ended; see ``Content.finish``."""
    content = Content()
    for part in parts:
        content.note(part)
    status = finish_word(response.get("status")) or "completed"
    if status != "incomplete":
        return content.finish("stop" if status == "completed" else status)
    details = response.get("incomplete_details") or {}
    reason = finish_word(details.get("reason"))
    if reason is None:
        return "length"
    finish = content.finish(reason, unknown="length")
    # Whatever the reason is, an incomplete answer must not look finished.
    return "length" if finish in ("stop", "tool_calls") else finish


def status_of(finish: FinishReason, parts: Iterable[Part]) -> tuple[str, str | None]:
    """Return status and incomplete reason of an answer of ``parts`` that ends with ``finish``."""
    if finish == "refusal" and any(isinstance(part, Refusal) for part in parts):
        return "completed", None
    return STATUS_OF_FINISH[finish]
