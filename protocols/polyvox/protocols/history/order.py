"""Tells quickly whether a history is already in order, as nearly all are."""

from collections.abc import Sequence

from polyvox.protocols.history.spelling import Spelling
from polyvox.workflows.conversation import Message, ToolCall, ToolResult


def is_in_order(messages: Sequence[Message], spelling: Spelling) -> bool:
    """Whether the pairing of calls and results would leave ``messages`` as they are.

    A history that is in order in a way that is not looked for here is paired all the same.
    """
    seen: set[str] = set()
    waiting: dict[str, str] = {}
    answering = False
    for message in messages:
        if waiting and not message.parts:
            return False
        if message.role == "assistant":
            if waiting and (answering or spelling.answers_each):
                return False
            answering = False
        for part in message.parts:
            if isinstance(part, ToolCall):
                if message.role != "assistant" or part.id in seen or not _is_right(part, spelling):
                    return False
                seen.add(part.id)
                waiting[part.id] = part.kind
            elif isinstance(part, ToolResult):
                if waiting.pop(part.call_id, None) != part.kind or message.role == "assistant":
                    return False
                answering = True
            elif waiting and message.role != "assistant":
                return False
    return not waiting


def _is_right(call: ToolCall, spelling: Spelling) -> bool:
    """Whether the id and the arguments of ``call`` are as the provider accepts them."""
    if not call.id or spelling.call_id(call.id) != call.id:
        return False
    if call.kind == "function" and not call.arguments.strip():
        return False
    json = call.on_wire(spelling.protocol)
    return json is None or spelling.call(json, call.id, call.arguments) is json
