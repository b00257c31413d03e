"""Renders a Reply as a Chat Completions document, and what its stream shares with it."""

from collections.abc import Sequence

from polyvox.protocols.chat import elements as wire
from polyvox.protocols.chat.client import legacy_functions as chat_functions
from polyvox.protocols.chat.transcript import (
    Fragment,
    call_fragment,
    merge_fragments,
    render_fragment,
)
from polyvox.protocols.citations import citations_of
from polyvox.protocols.client_side import Ask
from polyvox.protocols.openai.annotations import chat_annotations
from polyvox.protocols.tool_names import flat_name
from polyvox.workflows.conversation import Json, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from polyvox.workflows.reply import Reply, Usage

_TYPED: dict[type[Part], tuple[str, ...]] = {
    Text: ("content",),
    Refusal: ("refusal",),
    Reasoning: ("reasoning_content", "reasoning"),
    ToolCall: ("tool_calls", "function_call"),
}


def answer_id(run_id: str) -> str:
    """Return the ``id`` of the answer of a run."""
    return f"chatcmpl-{run_id}"


def further_members(part: Part, offset: int) -> Fragment:
    """Return the message members of ``part`` beside its own: annotations, reasoning details.

    ``offset`` is where the text of ``part`` begins in the message's.
    """
    typed = _TYPED.get(type(part), ())
    fragment = part.on_wire("chat") or {}
    members = {name: value for name, value in fragment.items() if name not in typed}
    if isinstance(part, Reasoning):
        members.update(wire.seal_reasoning(part))
    elif (
        isinstance(part, Text)
        and part.on_wire("chat") is None
        and (cited := chat_annotations(citations_of(part), offset))
    ):
        members["annotations"] = cited
    return members


def render(ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
    """Render the whole answer; see ``ResponseEncoder.render``."""
    answer, choice = ending(reply)
    whole = {"index": 0, "message": _message(reply), "logprobs": None, "finish_reason": None}
    whole |= choice
    document = {
        "id": answer_id(run_id),
        "object": "chat.completion",
        "created": created,
        "model": ask.model,
        "choices": [chat_functions.answered(whole) if ask.in_functions else whole],
        **answer,
    }
    usage = render_usage(reply)
    return document if usage is None else {**document, "usage": usage}


def choice_of(document: dict[str, Json], index: int) -> dict[str, Json]:
    """Return the choice of a whole answer as number ``index`` of several."""
    return {**document["choices"][0], "index": index}


def usage_of_choices(replies: Sequence[Reply]) -> dict[str, Json] | None:
    """Return the ``usage`` of several answers together, None if nothing is known."""
    return wire.render_usage(sum((reply.usage for reply in replies), Usage()), None)


def ending(reply: Reply) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the members of the whole answer, and those of its choice with ``finish_reason``."""
    answer = dict(_said(reply))
    choices = answer.pop("choices", None) or [{}]
    answer.pop("usage", None)
    choice = dict(choices[0])
    if not choice and (logprobs := _logprobs(reply)):
        choice["logprobs"] = {"content": logprobs, "refusal": None}
    said = choice.get("finish_reason")
    choice["finish_reason"] = wire.finish_reason(reply.finish, said)
    return answer, choice


def _logprobs(reply: Reply) -> list[Json]:
    """Return the log probabilities of a Responses answer; both protocols spell a token alike."""
    parts = (part.on_wire("responses") for part in reply.parts if isinstance(part, Text))
    spelled = (own.get("part", own).get("logprobs") for own in parts if own is not None)
    return [token for tokens in spelled if isinstance(tokens, list) for token in tokens]


def render_usage(reply: Reply) -> dict[str, Json] | None:
    """Return the ``usage`` of ``reply``, None if nothing is known."""
    return wire.render_usage(reply.usage, _said(reply).get("usage"))


def _said(reply: Reply) -> dict[str, Json]:
    if reply.wire is None or reply.wire.protocol != "chat":
        return {}
    said: dict[str, Json] = reply.wire.json
    return said


def _message(reply: Reply) -> dict[str, Json]:
    fragments, offset = list[Fragment](), 0
    for part in reply.parts:
        if fragment := _fragment(part, offset):
            fragments.append(fragment)
        if isinstance(part, Text):
            offset += len(part.text)
    message: dict[str, Json] = {"role": "assistant", "content": None, "refusal": None}
    message |= merge_fragments(fragments, joined=True)
    if isinstance(message["content"], list):
        message["content"] = reply.text
    return message


def _fragment(part: Part, offset: int) -> Fragment | None:
    if isinstance(part, Reasoning):
        # Whatever its origin or dialect, clients look for a model's thinking here.
        said = {"reasoning_content": part.text} if part.text else {}
        return {**said, **further_members(part, offset)}
    if isinstance(part, ToolCall) and part.on_wire("chat") is None:
        return call_fragment(part, flat_name(part.name, part.namespace))
    if isinstance(part, Text) and part.on_wire("chat") is None:
        return {"content": part.text, **further_members(part, offset)}
    if isinstance(part, Text | Refusal | ToolCall | Opaque):
        return render_fragment(part, "assistant", [])
    return None
