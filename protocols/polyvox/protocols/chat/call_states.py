"""The opaque state that a Chat server puts beside a call, for clients that cannot carry it.

Gemini answers 400 to a call in the history without the ``thought_signature`` of its
``extra_content`` (ai.google.dev, "Thought signatures", OpenAI compatibility); OpenRouter wants the
``reasoning_details`` of a reply with calls back (openrouter.ai, "Preserving reasoning blocks"). No
other protocol has such members, and many Chat clients drop members that they do not know. So the
state of each call is stored by the call's id, and put back when the call is sent again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

import orjson

from polyvox.protocols.chat.history import SPELLING
from polyvox.protocols.history.elements import with_parts
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Part,
    Reasoning,
    ToolCall,
    Wire,
)

_PLAIN: Final = frozenset(("id", "type", "index", "function", "custom"))
_DETAILS: Final = "reasoning_details"


def call_states(parts: Iterable[Part]) -> dict[str, Json]:
    """Return what has to be stored of a reply, by the ids of its calls.

    ``call`` is the fragment of a call with members beside the usual ones, ``reasoning`` the
    fragments of the reply's reasoning, at its first call.
    """
    states: dict[str, Json] = {}
    reasoning: list[Json] = []
    for part in parts:
        json = part.on_wire("chat")
        match part:
            case Reasoning() if json is not None and json.get(_DETAILS):
                reasoning.append(json)
            case ToolCall(id=call_id):
                state: dict[str, Json] = {}
                if json is not None and _further(json["tool_calls"][0]):
                    state["call"] = json
                if reasoning:
                    state["reasoning"], reasoning = reasoning, []
                if state:
                    states[call_id] = state
    return states


def _further(entry: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in entry.items() if name not in _PLAIN}


def lacking(conversation: Conversation) -> list[str]:
    """Return the ids of the calls that came without any state."""
    return [
        part.id
        for message in conversation.messages
        for part in message.parts
        if isinstance(part, ToolCall) and part.id and _lacks(part)
    ]


def _lacks(call: ToolCall) -> bool:
    json = call.on_wire("chat")
    entries = json.get("tool_calls") if json is not None else None
    return not entries or not _further(entries[0])


def with_call_states(conversation: Conversation, states: Mapping[str, Json]) -> Conversation:
    """Return ``conversation`` with the stored ``states`` of its calls."""
    messages = [*conversation.messages]
    for at, message in enumerate(messages):
        if message.role == "assistant":
            _restore(messages, at, message, states)
    return replace(conversation, messages=tuple(messages))


def _restore(
    messages: list[Message], at: int, message: Message, states: Mapping[str, Json]
) -> None:
    parts: list[Part] = []
    for part in message.parts:
        state = states.get(part.id) if isinstance(part, ToolCall) else None
        if not isinstance(part, ToolCall) or state is None:
            parts.append(part)
            continue
        if (stored := state.get("reasoning")) and message.on_wire("chat") is None:
            parts = [p for p in parts if not _is_bare(p)]
            _drop_reasoning(messages, at)
            parts += [_reasoning(fragment) for fragment in stored]
        parts.append(_call(part, state["call"]) if "call" in state else part)
    messages[at] = with_parts(message, parts, SPELLING)


def _is_bare(part: Part) -> bool:
    """Whether ``part`` is a Chat server's reasoning without the members it came with."""
    return isinstance(part, Reasoning) and part.origin == "chat" and part.on_wire("chat") is None


def _drop_reasoning(messages: list[Message], at: int) -> None:
    """Remove the reasoning of the reply that is in messages before ``at``, as in Responses."""
    for earlier in range(at - 1, -1, -1):
        message = messages[earlier]
        if message.role != "assistant" or any(isinstance(p, ToolCall) for p in message.parts):
            return
        kept = [part for part in message.parts if not _is_bare(part)]
        messages[earlier] = with_parts(message, kept, SPELLING)


def _reasoning(fragment: Json) -> Reasoning:
    text = fragment.get("reasoning_content") or fragment.get("reasoning") or ""
    return Reasoning(text, origin="chat", wire=Wire("chat", fragment))


def _call(call: ToolCall, stored: Json) -> ToolCall:
    """Return ``call`` with the stored element, unless the client changed the arguments."""
    own = call.on_wire("chat")
    if own is not None:
        entry = {**_further(stored["tool_calls"][0]), **own["tool_calls"][0]}
        return replace(call, wire=Wire("chat", {**own, "tool_calls": [entry]}))
    entry = {**stored["tool_calls"][0], "id": call.id}
    said = entry.get("function")
    if call.kind == "function" and isinstance(said, dict):
        same = _value(said.get("arguments")) == _value(call.arguments)
        entry["function"] = said if same else {**said, "arguments": call.arguments}
    return replace(call, wire=Wire("chat", {**stored, "tool_calls": [entry]}))


def _value(arguments: str | None) -> Json:
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return arguments
