"""The opaque state that a Chat server puts beside a call, for clients that cannot carry it.

Gemini answers 400 to a call in the history without the ``thought_signature`` of its
``extra_content`` (ai.google.dev, "Thought signatures", OpenAI compatibility); OpenRouter wants the
``reasoning_details`` of a reply with calls back (openrouter.ai, "Preserving reasoning blocks"). No
other protocol has such members, and many Chat clients drop members that they do not know. So the
state of each call is stored by the call's id, and put back when the call is sent again.

So is an id that Messages cannot spell: Kimi expects its own ``functions.NAME:NUMBER`` back
(platform.moonshot.ai, "Tool use").
"""

import re
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
    ToolResult,
    Wire,
)

_PLAIN: Final = frozenset(("id", "type", "index", "function", "custom"))
_DETAILS: Final = "reasoning_details"
_SPELLED: Final = re.compile(r"[a-zA-Z0-9_-]+")
"""The ids that clients of every protocol can send back."""


def call_states(parts: Iterable[Part]) -> dict[str, Json]:
    """Return what has to be stored of a reply, by the ids of its calls.

    ``call`` is the fragment of a call with members beside the usual ones, ``id`` an id that some
    clients get in another spelling, ``reasoning`` the fragments of the reply's reasoning, at its
    first call.
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
                if json is not None and _further(_entry(json)):
                    state["call"] = json
                if not _SPELLED.fullmatch(call_id):
                    state["id"] = call_id
                if reasoning:
                    state["reasoning"], reasoning = reasoning, []
                if state:
                    states[call_id] = state
    return states


def _entry(fragment: Json) -> dict[str, Json]:
    entries = fragment.get("tool_calls")
    return dict(entries[0]) if entries else {}


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
    return json is None or not _further(_entry(json))


def with_call_states(conversation: Conversation, states: Mapping[str, Json]) -> Conversation:
    """Return ``conversation`` with the stored ``states`` of its calls."""
    messages = [*conversation.messages]
    for at, message in enumerate(messages):
        if message.role == "assistant":
            _restore(messages, at, message, states)
        elif any(isinstance(part, ToolResult) for part in message.parts):
            parts = [_result(part, states) for part in message.parts]
            messages[at] = with_parts(message, parts, SPELLING)
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
        stored = state.get("reasoning")
        if stored and message.on_wire("chat") is not None:
            message = _with_details(message, stored)
        elif stored:
            parts = [p for p in parts if not _is_bare(p)]
            _drop_reasoning(messages, at)
            parts += [_reasoning(fragment) for fragment in stored]
        parts.append(_call(part, state))
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


def _with_details(message: Message, stored: list[Json]) -> Message:
    """Return a Chat client's message with the details of its reasoning, if it has none."""
    json = message.on_wire("chat")
    if json is None or json.get(_DETAILS):
        return message
    details = [detail for fragment in stored for detail in fragment[_DETAILS]]
    return replace(message, wire=Wire("chat", {**json, _DETAILS: details}))


def _result(part: Part, states: Mapping[str, Json]) -> Part:
    if not isinstance(part, ToolResult) or part.on_wire("chat") is not None:
        return part
    original = states.get(part.call_id, {}).get("id", part.call_id)
    return part if original == part.call_id else replace(part, call_id=original)


def _call(call: ToolCall, state: Mapping[str, Json]) -> ToolCall:
    """Return ``call`` with the stored element, unless the client changed the arguments."""
    own, stored = call.on_wire("chat"), state.get("call")
    if own is not None:
        if stored is None or not _entry(own):
            return call
        entry = {**_further(_entry(stored)), **_entry(own)}
        return replace(call, wire=Wire("chat", {**own, "tool_calls": [entry]}))
    if "id" in state:
        call = replace(call, id=state["id"])
    if stored is None:
        return call
    entry = {**_entry(stored), "id": call.id}
    function = entry.get("function")
    if not isinstance(function, dict):
        return replace(call, wire=Wire("chat", {**stored, "tool_calls": [entry]}))
    if call.kind == "function" and _value(function.get("arguments")) != _value(call.arguments):
        function = {**function, "arguments": call.arguments}
    # A free-text tool may have been offered as a function, so the call is one for the server.
    arguments = function.get("arguments") or "{}"
    entry["function"] = {**function, "arguments": arguments}
    wire = Wire("chat", {**stored, "tool_calls": [entry]})
    return replace(call, arguments=arguments, kind="function", wire=wire)


def _value(arguments: str | None) -> Json:
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return arguments
