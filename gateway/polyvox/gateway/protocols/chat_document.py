"""Renders a Reply as a Chat Completions document, and what its stream shares with it."""

from polyvox.gateway.protocols.front import Ask
from polyvox.workflows.conversation import Json, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from polyvox.workflows.reply import Reply
from polyvox.workflows.wire import chat as wire
from polyvox.workflows.wire.chat_transcript import Fragment, merge_fragments, render_fragment

_TYPED: dict[type[Part], tuple[str, ...]] = {
    Text: ("content",),
    Refusal: ("refusal",),
    Reasoning: ("reasoning_content", "reasoning"),
    ToolCall: ("tool_calls", "function_call"),
}


def answer_id(run_id: str) -> str:
    """Return the ``id`` of the answer of a run."""
    return f"chatcmpl-{run_id}"


def further_members(part: Part) -> Fragment:
    """Return the message members of ``part`` beside its own: annotations, reasoning details."""
    typed = _TYPED.get(type(part), ())
    fragment = part.on_wire("chat") or {}
    members = {name: value for name, value in fragment.items() if name not in typed}
    if isinstance(part, Reasoning):
        members.update(wire.seal_reasoning(part))
    return members


def render(ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
    """Render the whole answer; see ``Front.render``."""
    answer, choice = ending(reply)
    document = {
        "id": answer_id(run_id),
        "object": "chat.completion",
        "created": created,
        "model": ask.model,
        "choices": [
            {"index": 0, "message": _message(reply), "logprobs": None, "finish_reason": None}
            | choice
        ],
        **answer,
    }
    usage = render_usage(reply)
    return document if usage is None else {**document, "usage": usage}


def ending(reply: Reply) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the members of the whole answer, and those of its choice with ``finish_reason``."""
    answer = dict(_said(reply))
    choices = answer.pop("choices", None) or [{}]
    answer.pop("usage", None)
    choice = dict(choices[0])
    said = choice.get("finish_reason")
    choice["finish_reason"] = wire.finish_reason(reply.finish, said)
    return answer, choice


def render_usage(reply: Reply) -> dict[str, Json] | None:
    """Return the ``usage`` of ``reply``, None if nothing is known."""
    return wire.render_usage(reply.usage, _said(reply).get("usage"))


def _said(reply: Reply) -> dict[str, Json]:
    if reply.wire is None or reply.wire.protocol != "chat":
        return {}
    said: dict[str, Json] = reply.wire.json
    return said


def _message(reply: Reply) -> dict[str, Json]:
    fragments = [fragment for part in reply.parts if (fragment := _fragment(part))]
    message: dict[str, Json] = {"role": "assistant", "content": None, "refusal": None}
    message |= merge_fragments(fragments, joined=True)
    if isinstance(message["content"], list):
        message["content"] = reply.text
    return message


def _fragment(part: Part) -> Fragment | None:
    if isinstance(part, Reasoning):
        # Whatever its origin or dialect, clients look for a model's thinking here.
        said = {"reasoning_content": part.text} if part.text else {}
        return {**said, **further_members(part)}
    if isinstance(part, Text | Refusal | ToolCall | Opaque):
        return render_fragment(part, "assistant", [])
    return None
