"""Parses and renders the elements of Anthropic Messages: messages and system.

What this protocol lacks is rendered as follows. A ``developer`` or ``system`` message after the
first turn becomes a turn of ``role: "system"`` if the model accepts one at that place, else user
text inside ``<system>`` tags (moving it to the front would change its meaning). Several results in
a row become one user turn.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import dropwhile, takewhile

from polyvox.protocols.coverage.losses import message_losses
from polyvox.protocols.decoding.exact_objects import has_long_numbers
from polyvox.protocols.history.later_instructions import LATER_INSTRUCTIONS, in_system_tags
from polyvox.protocols.messages.arguments import own_block
from polyvox.protocols.messages.blocks import (
    invalid,
    is_native,
    parse_blocks,
    render_blocks,
)
from polyvox.protocols.messages.options import parse_options, render_options
from polyvox.protocols.messages.tools import parse_tool, render_tools
from polyvox.protocols.messages.usage import parse_usage, render_usage
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Part,
    Reasoning,
    Role,
    ToolCall,
    Wire,
)

__all__ = [
    "parse_message",
    "parse_options",
    "parse_system",
    "parse_tool",
    "parse_usage",
    "render_messages",
    "render_options",
    "render_system",
    "render_tools",
    "render_usage",
]

_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}

_JSON_OBJECT = "Answer with one JSON object and nothing else."

_OPENER = "Continue."
"""The first user turn, which the API requires, for a conversation that begins without one."""


def parse_message(json: Json) -> Message:
    """Parse one element of ``messages``, which may be an instruction (role ``system``).

    Raises ModelError("invalid_request") with ``param`` relative to the element.
    """
    if not isinstance(json, dict):
        raise invalid("", "must be an object with role and content.")
    role = json.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise invalid("role", f"{role!r} is none of {', '.join(_ROLES)}.")
    parts = parse_blocks(json.get("content"), "content")
    return Message(_ROLES[role], parts, wire=Wire("messages", _with_inputs(json, parts)))


def _with_inputs(json: dict[str, Json], parts: Sequence[Part]) -> dict[str, Json]:
    """Return the element with the inputs that its parts have."""
    blocks = json.get("content")
    if not isinstance(blocks, list):
        return json
    parsed = [part.on_wire("messages") for part in parts]
    if all(a is b for a, b in zip(blocks, parsed, strict=True)):
        return json
    return {**json, "content": parsed}


def parse_system(json: Json) -> Message:
    """Parse the field ``system``: a string, or an array of text blocks."""
    return Message("system", parse_blocks(json, "system"), wire=Wire("messages", json))


def render_system(conversation: Conversation, losses: list[str]) -> Json | None:
    """Render the field ``system``, or None if there are no instructions.

    It holds the instructions that other protocols have at the head of their messages, and requests
    that this protocol has no field for.
    """
    instructions = _render_instructions(conversation, losses)
    form = conversation.options.format
    if form is None or form.kind != "json_object":
        return instructions
    if isinstance(instructions, list):
        return [*instructions, {"type": "text", "text": _JSON_OBJECT}]
    return f"{instructions}\n\n{_JSON_OBJECT}" if instructions else _JSON_OBJECT


def _render_instructions(conversation: Conversation, losses: list[str]) -> Json | None:
    leading = _leading(conversation.messages)
    if conversation.system is not None:
        document = conversation.system.on_wire("messages")
        if document is not None and not leading:
            return document
        leading = [conversation.system, *leading]
    blocks = [block for message in leading for block in render_blocks(message.parts, losses)]
    match blocks:
        case []:
            return None
        case [{"type": "text", "text": text, **rest}] if not rest:
            return text
        case _:
            return blocks


def _is_foreign_instruction(message: Message) -> bool:
    return message.role in ("system", "developer") and message.on_wire("messages") is None


def _leading(messages: Iterable[Message]) -> list[Message]:
    return list(takewhile(_is_foreign_instruction, messages))


def render_messages(
    conversation: Conversation, losses: list[str], *, system_turns: bool | None = None
) -> list[Json]:
    """Render ``messages``, without the instructions that ``render_system`` takes.

    Elements of this protocol are sent unchanged and never merged, except for the results of tools,
    which must be in one turn. Other messages are merged into turns, with the results of tools first
    in theirs, as the API requires.

    ``system_turns`` says whether the model accepts turns of ``role: "system"``. If that is unknown
    (None), those of the client are sent and none are added.
    """
    rendered: list[Json] = []
    open_turn: Json | None = None
    merged: list[Json] = []
    messages = list(dropwhile(_is_foreign_instruction, conversation.messages))
    for message, ends_turn in zip(messages, _ends_of_turns(messages), strict=True):
        element = _own_element(message)
        if element is not None and not (message.role == "system" and system_turns is False):
            element = _without_foreign_reasoning(message, element, losses)
            _put_results_first(open_turn)
            if element is not None and _takes_results(rendered, open_turn, element):
                # The results of one answer must be in one turn, the flow's and the client's alike.
                if rendered[-1]["content"] is not merged:
                    merged = [*rendered[-1]["content"]]
                merged.extend(element["content"])
                rendered[-1] = {**element, "content": merged}
            elif element is not None:
                rendered.append(element)
            open_turn = None
            continue
        if message.wire is not None and element is None:
            losses.extend(message_losses(message.wire, "messages"))
        role, blocks = _render_turn(message, losses)
        if not blocks:
            continue
        if message.role in ("system", "developer"):
            before = rendered[-1]["role"] if rendered else None
            if system_turns and before in ("user", "system") and ends_turn:
                role = "system"
            else:
                losses.append(LATER_INSTRUCTIONS)
                blocks = [_tagged(message, blocks)]
        if open_turn is not None and open_turn["role"] == role:
            open_turn["content"].extend(blocks)
            continue
        _put_results_first(open_turn)
        open_turn = {"role": role, "content": [*blocks]}
        if _takes_results(rendered, None, open_turn):
            open_turn["content"] = rendered.pop()["content"] + open_turn["content"]
        rendered.append(open_turn)
    _put_results_first(open_turn)
    if not rendered or _opens_with_answer(rendered, conversation):
        rendered.insert(0, {"role": "user", "content": _OPENER})
        losses.append("messages: a user turn was put first, as this protocol wants one")
    return rendered


def _own_element(message: Message) -> Json | None:
    """Return the element of this protocol that ``message`` was parsed from, or None."""
    element: Json | None = message.on_wire("messages")
    if element is None or not any(
        isinstance(part, ToolCall) and has_long_numbers(part.arguments) for part in message.parts
    ):
        return element
    return {**element, "content": [own_block(part) for part in message.parts]}


def _takes_results(rendered: Sequence[Json], open_turn: Json | None, element: Json) -> bool:
    """Whether ``element`` continues the tool results of the turn before it."""
    if not rendered or rendered[-1]["role"] != element.get("role"):
        return False
    content, before = element["content"], rendered[-1]["content"]
    if not isinstance(content, list) or not isinstance(before, list):
        return False
    if open_turn is not None:
        return any(_is_result(block) for block in content)
    return all(_is_result(block) for block in (*before[-1:], *content[:1]))


def _is_result(block: Json) -> bool:
    return bool(block.get("type") == "tool_result")


def _opens_with_answer(rendered: Sequence[Json], conversation: Conversation) -> bool:
    return rendered[0]["role"] == "assistant" and all(
        message.on_wire("messages") is None for message in conversation.messages
    )


def _without_foreign_reasoning(message: Message, element: Json, losses: list[str]) -> Json | None:
    """Return the element without reasoning from another provider; None if nothing is left.

    A client sends such reasoning back in a sealed signature, which no provider can verify.
    """
    if all(is_native(part) for part in message.parts if isinstance(part, Reasoning)):
        return element
    blocks = render_blocks(message.parts, losses)
    return {**element, "content": blocks} if blocks else None


def _render_turn(message: Message, losses: list[str]) -> tuple[str, list[Json]]:
    """Return the role and the blocks of a message from another protocol."""
    blocks = render_blocks(message.parts, losses)
    return "assistant" if message.role == "assistant" else "user", blocks


def _ends_of_turns(messages: Sequence[Message]) -> list[bool]:
    """Return for each message whether the assistant is next, apart from instructions.

    The API accepts an instruction only after the user's whole turn, not inside it.
    """
    ends: list[bool] = []
    following = "assistant"
    for message in reversed(messages):
        ends.append(following == "assistant")
        if message.role not in ("system", "developer"):
            following = message.role
    ends.reverse()
    return ends


def _tagged(message: Message, blocks: list[Json]) -> Json:
    marked = blocks[-1].get("cache_control")
    mark = {} if marked is None else {"cache_control": marked}
    return {"type": "text", "text": in_system_tags(message.text), **mark}


def _put_results_first(turn: Json | None) -> None:
    """Sort the blocks of a complete turn; only once, because there may be thousands."""
    if turn is not None:
        turn["content"].sort(key=lambda block: not _is_result(block))
