"""How a Messages answer ends: stop reason, usage and further members of the provider."""

from collections.abc import Mapping
from dataclasses import dataclass

from polyvox.protocols.decoding.ending import meaning_of
from polyvox.protocols.messages.usage import parse_usage, render_usage
from polyvox.workflows.conversation import Json, Refusal
from polyvox.workflows.reply import FinishReason, Reply

FINISH: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "pause",
}
"""The finish reason for each ``stop_reason`` of this protocol."""

STOP_REASONS: Mapping[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "refusal",
    "pause": "pause_turn",
}

_CARRIED = ("inference_geo", "server_tool_use", "service_tier", "speed")
"""Members of a provider's usage that stay valid when the run made several calls."""


@dataclass(frozen=True, slots=True)
class Ending:
    """``stop`` goes into the message (or ``message_delta.delta``), ``beside`` next to it."""

    stop: dict[str, Json]
    usage: dict[str, Json]
    beside: dict[str, Json]


def ending(reply: Reply) -> Ending:
    """Return the ending of ``reply``.

    ``reply.wire`` of this protocol holds ``delta`` and ``event`` (members of ``message_delta``
    and of its event) and ``usage``, as the decoder of this protocol leaves them.
    """
    wire: dict[str, Json] = {}
    if reply.wire is not None and reply.wire.protocol == "messages":
        wire = reply.wire.json
    delta: dict[str, Json] = wire.get("delta", {})
    stop = {
        **delta,
        "stop_reason": _stop_reason(reply, delta.get("stop_reason")),
        "stop_sequence": reply.stop_sequence,
    }
    refusal = delta.get("stop_details") or _refusal(reply)
    if refusal is not None or not delta:
        stop["stop_details"] = refusal
    return Ending(stop, _usage(reply, wire.get("usage", {})), wire.get("event", {}))


def _stop_reason(reply: Reply, word: str | None) -> str:
    if word and FINISH.get(word) == reply.finish:
        return word
    if word and reply.finish == "stop" and meaning_of(word) is None:
        # A word that is new to Polyvox may be known to the client.
        return word
    if reply.finish == "stop":
        # Other protocols show these only by the parts.
        if reply.tool_calls:
            return "tool_use"
        if any(isinstance(part, Refusal) for part in reply.parts):
            return "refusal"
        if reply.stop_sequence is not None:
            return "stop_sequence"
    return STOP_REASONS[reply.finish]


def _refusal(reply: Reply) -> Json:
    explanation = "".join(part.text for part in reply.parts if isinstance(part, Refusal))
    if not explanation:
        return None
    return {"type": "refusal", "category": None, "explanation": explanation}


def _usage(reply: Reply, reported: dict[str, Json]) -> dict[str, Json]:
    rendered = render_usage(reply.usage)
    if reported and parse_usage(reported) == reply.usage:
        return {**rendered, **reported}
    return rendered | {name: reported[name] for name in _CARRIED if name in reported}
