"""The answers of the counting provider, in Chat or Messages: a short text or a tool call.

The answer depends on the model's role (the first word of its name) and on the tool results in the
conversation, so that an attempt that is repeated gets the same answer.
"""

import json
from dataclasses import dataclass
from typing import Any

TOKENS = 6
USAGE = (11, TOKENS)
"""Input and output tokens of every answer."""

EXPERT_TOOL = "ask_expert"
CLIENT_TOOL = "look"


@dataclass(frozen=True, slots=True)
class Frames:
    """The answer as frames: what precedes the tokens, one frame per token, what follows."""

    head: list[bytes]
    tokens: list[bytes]
    tail: list[bytes]


def text_of(model: str) -> str:
    """Return the text that ``model`` answers."""
    return "".join(f"{model}.{number} " for number in range(TOKENS)).strip()


def tool_results(body: dict[str, Any]) -> int:
    """Return the number of tool results in a request's conversation."""
    text = json.dumps(body["messages"])
    return text.count('"tool_call_id"') + text.count('"tool_use_id"')


def answer(protocol: str, body: dict[str, Any]) -> Frames:
    """Return the answer to a request in ``protocol`` ("chat" or "messages")."""
    name = wanted_tool(body)
    write = _chat if protocol == "chat" else _messages
    return write(str(body["model"]), name)


def wanted_tool(body: dict[str, Any]) -> str | None:
    """Return the tool that the answer to ``body`` calls, None for a text."""
    role = str(body["model"]).partition("-")[0]
    results = tool_results(body)
    offered = json.dumps(body.get("tools") or [])
    if role == "worker" and results == 0 and f'"{EXPERT_TOOL}"' in offered:
        return EXPERT_TOOL
    # The report of the panel and the answer of the expert are tool results too.
    before = {"main": 0, "author": 1, "worker": 1}.get(role)
    if results == before and f'"{CLIENT_TOOL}"' in offered:
        return CLIENT_TOOL
    return None


def _arguments(name: str) -> str:
    return json.dumps({"question": "Which one?"} if name == EXPERT_TOOL else {"path": "notes"})


def _sse(document: Any, name: str | None = None) -> bytes:
    event = f"event: {name}\n" if name else ""
    return f"{event}data: {json.dumps(document)}\n\n".encode()


def _chat(model: str, tool: str | None) -> Frames:
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return _sse({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    read, written = USAGE
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    tail = [
        chunk({}, "tool_calls" if tool else "stop"),
        _sse({**base, "choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    ]
    head = [chunk({"role": "assistant", "content": ""})]
    if tool:
        function = {"name": tool, "arguments": _arguments(tool)}
        call = {"index": 0, "id": f"call_{tool}_1", "type": "function", "function": function}
        return Frames(head, [chunk({"tool_calls": [call]})], tail)
    words = text_of(model).split()
    tokens = [chunk({"content": word if at == 0 else f" {word}"}) for at, word in enumerate(words)]
    return Frames(head, tokens, tail)


def _messages(model: str, tool: str | None) -> Frames:
    read, written = USAGE

    def event(kind: str, **members: Any) -> bytes:
        return _sse({"type": kind, **members}, kind)

    def delta(**members: Any) -> bytes:
        return event("content_block_delta", index=0, delta=members)

    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
    }
    message |= {"content": [], "stop_reason": None, "stop_sequence": None}
    message |= {"usage": {"input_tokens": read, "output_tokens": 1}}
    block: dict[str, Any] = {"type": "text", "text": ""}
    words = text_of(model).split()
    tokens = [
        delta(type="text_delta", text=word if at == 0 else f" {word}")
        for at, word in enumerate(words)
    ]
    if tool:
        block = {"type": "tool_use", "id": f"toolu_{tool}_1", "name": tool, "input": {}}
        tokens = [delta(type="input_json_delta", partial_json=_arguments(tool))]
    ending = {"stop_reason": "tool_use" if tool else "end_turn", "stop_sequence": None}
    return Frames(
        [
            event("message_start", message=message),
            event("content_block_start", index=0, content_block=block),
        ],
        tokens,
        [
            event("content_block_stop", index=0),
            event("message_delta", delta=ending, usage={"output_tokens": written}),
            event("message_stop"),
        ],
    )
