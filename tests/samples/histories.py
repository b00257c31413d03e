"""Histories of calls and results: in order as providers want them, and as clients send them."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import strategies as st

from polyvox.workflows.conversation import (
    Json,
    Message,
    Part,
    Role,
    Text,
    ToolCall,
    ToolResult,
)

ANSWER = "It rains."


def in_order(messages: Iterable[Message], role: Role) -> tuple[Message, ...]:
    """Return ``messages`` with one result, in a message of ``role``, right after each call.

    Ids are made unique. The results are those of ``messages``, as far as there are enough.
    """
    messages = tuple(messages)
    given = (part for m in messages for part in m.parts if isinstance(part, ToolResult))
    ordered: list[Message] = []
    for message in messages:
        kept: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolCall):
                kept.append(replace(part, id=f"{part.id[:12]}_{len(ordered)}_{len(kept)}"))
            elif not isinstance(part, ToolResult):
                kept.append(part)
        if kept:
            ordered.append(replace(message, parts=tuple(kept)))
        calls = [part for part in kept if isinstance(part, ToolCall)]
        if calls:
            plain = ToolResult("", (Text(ANSWER),))
            found = [replace(next(given, plain), call_id=c.id, kind=c.kind) for c in calls]
            ordered.append(Message(role, tuple(found)))
    return tuple(ordered)


IDS = st.sampled_from([None, "", "a", "b", "list_dir:0", "list_dir_0", "a.b/c d", "x" * 90])
NAMES = st.sampled_from(
    ["read", "fs.read", "fs_read", "fs/read", "a:b c", "größe", "read_x0a1b2c3d", "m" * 90]
)
ARGUMENTS = st.sampled_from([None, "", "{}", '{"path": "a"}', {"path": "a"}])
WORDS = st.sampled_from(["Fog.", "No.", "Look at that."])

_CALLS = st.tuples(st.just("call"), IDS, NAMES, ARGUMENTS)
_RESULTS = st.tuples(st.just("result"), IDS, WORDS)
_SAID = st.tuples(st.sampled_from(["user", "assistant", "notice"]), WORDS)

STEPS = st.lists(_CALLS | _RESULTS | _SAID, max_size=12)
"""What a client's history may hold, in any order: calls, results, and texts between them."""

_TURNS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True).flatmap(
    lambda ids: st.permutations(ids).map(
        lambda answered: [
            *(("call", call_id, "read", "{}") for call_id in ids),
            *(("result", call_id, "Fog.") for call_id in answered),
        ]
    )
)
ORDERED_STEPS = st.lists(_TURNS | _SAID.map(lambda said: [said]), max_size=4).map(
    lambda turns: [step for turn in turns for step in turn]
)
"""Mostly in order: results in any order after their calls, and ids that may repeat."""


def chat_messages(steps: Iterable[tuple[Json, ...]]) -> list[Json]:
    """Spell ``steps`` as a Chat client; calls in a row are in one message."""
    messages: list[Json] = []
    for step in steps:
        match step:
            case ("call", call_id, name, arguments):
                said = {"name": name, "arguments": arguments}
                call = {"id": call_id, "type": "function", "function": said}
                if messages and messages[-1].get("tool_calls"):
                    messages[-1]["tool_calls"].append(call)
                else:
                    messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            case ("result", call_id, words):
                messages.append({"role": "tool", "tool_call_id": call_id, "content": words})
            case (role, words):
                messages.append({"role": _role(role, "developer"), "content": words})
    return messages


def response_items(steps: Iterable[tuple[Json, ...]]) -> list[Json]:
    """Spell ``steps`` as a Responses client."""
    items: list[Json] = []
    for step in steps:
        match step:
            case ("call", call_id, name, arguments):
                call = {"type": "function_call", "call_id": call_id, "name": name}
                items.append({**call, "arguments": arguments})
            case ("result", call_id, words):
                items.append({"type": "function_call_output", "call_id": call_id, "output": words})
            case (role, words):
                kind = "output_text" if role == "assistant" else "input_text"
                content = [{"type": kind, "text": words}]
                items.append({"role": _role(role, "developer"), "content": content})
    return items


def messages_turns(steps: Iterable[tuple[Json, ...]]) -> list[Json]:
    """Spell ``steps`` as a Messages client: blocks in turns."""
    turns: list[Json] = [{"role": "user", "content": [{"type": "text", "text": "Hi."}]}]
    for step in steps:
        match step:
            case ("call", call_id, name, arguments):
                given = arguments if isinstance(arguments, dict) else None
                block = {"type": "tool_use", "id": call_id, "name": name, "input": given}
                role = "assistant"
            case ("result", call_id, words):
                block = {"type": "tool_result", "tool_use_id": call_id, "content": words}
                role = "user"
            case _:
                block, role = {"type": "text", "text": step[-1]}, _role(step[0], "user")
        if turns[-1]["role"] == role:
            turns[-1]["content"].append(block)
        else:
            turns.append({"role": role, "content": [block]})
    return turns


def _role(said: str, notice: str) -> str:
    return notice if said == "notice" else said


def requests(steps: Iterable[tuple[Json, ...]], names: Iterable[str]) -> dict[str, Json]:
    """Return the request of a client of each protocol with that history and those tools."""
    steps, names = list(steps), list(names)
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    functions = [{"name": n, "description": "Read.", "parameters": schema} for n in names]
    tools: dict[str, list[Json]] = {
        "chat": [{"type": "function", "function": f} for f in functions],
        "responses": [{"type": "function", "strict": False, **f} for f in functions],
        "messages": [{"name": name, "input_schema": schema} for name in names],
    }
    question = [("user", "Go on.")]
    bodies: dict[str, Json] = {
        "chat": {"messages": chat_messages([*question, *steps])},
        "responses": {"input": response_items([*question, *steps])},
        "messages": {"max_tokens": 100, "messages": messages_turns(steps)},
    }
    return {
        protocol: {"model": "m", **body, **({"tools": tools[protocol]} if names else {})}
        for protocol, body in bodies.items()
    }
