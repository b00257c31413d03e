"""Writes the answers to Chat Completions clients: as a stream, as one document, or as an error."""

from collections.abc import Sequence

from polyvox.protocols.chat import elements as wire
from polyvox.protocols.chat.client import legacy_functions as chat_functions
from polyvox.protocols.chat.client.ending import answer_id, ending, further_members, render_usage
from polyvox.protocols.chat.client.stream import Encoder
from polyvox.protocols.chat.transcript import (
    Fragment,
    call_fragment,
    merge_fragments,
    render_fragment,
)
from polyvox.protocols.client_side import Ask
from polyvox.protocols.openai.client_errors import error_object, error_status
from polyvox.protocols.tool_aliases import restored
from polyvox.protocols.tool_names import flat_name
from polyvox.workflows.conversation import Json, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply, Usage

encoder = Encoder


def render(ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
    """Render the whole answer; see ``ResponseEncoder.render``."""
    reply = restored(reply, ask)
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
    """Return the choice of a whole answer with ``index`` among several."""
    return {**document["choices"][0], "index": index}


def usage_of_choices(replies: Sequence[Reply]) -> dict[str, Json] | None:
    """Return the ``usage`` of several answers together, None if nothing is known."""
    return wire.render_usage(sum((reply.usage for reply in replies), Usage()), None)


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
        # Clients read reasoning from this member, whatever its origin.
        reasoning = {"reasoning_content": part.text} if part.text else {}
        return {**reasoning, **further_members(part, offset)}
    if isinstance(part, ToolCall) and part.on_wire("chat") is None:
        return call_fragment(part, flat_name(part.name, part.namespace))
    if isinstance(part, Text) and part.on_wire("chat") is None:
        return {"content": part.text, **further_members(part, offset)}
    if isinstance(part, Text | Refusal | ToolCall | Opaque):
        return render_fragment(part, "assistant", [])
    return None


def render_error(error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
    """Return HTTP status and error document; see ``ResponseEncoder.render_error``."""
    return error_status(error), {"error": error_object(error, run_id)}
