"""Answers as providers of each protocol send them, whole and as a stream."""

import json
from typing import Any

import orjson

from polyvox.protocols.sse import Frame
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json, Protocol
from polyvox.workflows.events import Event, fold
from polyvox.workflows.reply import Reply

Call = tuple[str, str, str]
"""Id, name and the text of the arguments."""

_CHAT_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
_USAGE = {"input_tokens": 3, "output_tokens": 2}


def document(
    protocol: Protocol, text: str = "", calls: tuple[Call, ...] = (), reason: Any = None
) -> bytes:
    """Return a whole answer; the texts of arguments are in it as they are."""
    match protocol:
        case "chat":
            message: Json = {"role": "assistant", "content": text or None}
            if calls:
                message["tool_calls"] = [
                    {"id": i, "type": "function", "function": {"name": n, "arguments": a}}
                    for i, n, a in calls
                ]
            choice = {"index": 0, "message": message, "finish_reason": reason}
            answer: Json = {"object": "chat.completion", "model": "m", "choices": [choice]}
            return orjson.dumps({**answer, "usage": _CHAT_USAGE})
        case "messages":
            blocks = [orjson.dumps({"type": "text", "text": text})] if text else []
            blocks += [
                b'{"type":"tool_use","id":%b,"name":%b,"input":%b}'
                % (orjson.dumps(i), orjson.dumps(n), a.encode())
                for i, n, a in calls
            ]
            rest: Json = {"model": "m", "role": "assistant", "stop_reason": reason, "usage": _USAGE}
            return b'{"type":"message","content":[%b],%b' % (
                b",".join(blocks),
                orjson.dumps(rest)[1:],
            )
        case _:
            part = {"type": "output_text", "text": text, "annotations": []}
            shown: Json = {"type": "message", "id": "m", "role": "assistant", "content": [part]}
            output: list[Json] = [shown] if text else []
            output += [
                {"type": "function_call", "id": f"fc_{i}", "call_id": i, "name": n, "arguments": a}
                for i, n, a in calls
            ]
            status = "completed" if reason in (None, "stop", "tool_calls") else "incomplete"
            details = {"reason": reason} if status == "incomplete" else None
            response: Json = {
                "object": "response",
                "model": "m",
                "status": status,
                "output": output,
            }
            return orjson.dumps({**response, "incomplete_details": details, "usage": _USAGE})


def streamed(
    protocol: Protocol, text: str = "", calls: tuple[Call, ...] = (), reason: Any = None
) -> list[Frame]:
    """Return the stream of the same answer; texts come in two pieces."""
    match protocol:
        case "chat":
            chunks: list[Json] = [{"content": piece} for piece in _halves(text)]
            for at, (call_id, name, arguments) in enumerate(calls):
                begun = {"index": at, "id": call_id, "type": "function"}
                chunks.append({"tool_calls": [{**begun, "function": {"name": name}}]})
                chunks += [
                    {"tool_calls": [{"index": at, "function": {"arguments": piece}}]}
                    for piece in _halves(arguments)
                ]
            choices: list[Json] = [
                {"index": 0, "delta": delta, "finish_reason": None} for delta in chunks
            ]
            choices.append({"index": 0, "delta": {}, "finish_reason": reason})
            said: list[Json] = [{"model": "m", "choices": [choice]} for choice in choices]
            said.append({"model": "m", "choices": [], "usage": _CHAT_USAGE})
            return [*frames(*said), (None, b"[DONE]")]
        case "messages":
            events: list[Json] = [
                {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3}}}
            ]
            blocks: list[tuple[Json, str, str, str]] = []
            if text:
                blocks.append(({"type": "text", "text": ""}, "text_delta", "text", text))
            blocks += [
                ({"type": "tool_use", "id": i, "name": n, "input": {}}, *_JSON_DELTA, a)
                for i, n, a in calls
            ]
            for at, (start, kind, member, grown) in enumerate(blocks):
                events.append({"type": "content_block_start", "index": at, "content_block": start})
                events += [
                    {
                        "type": "content_block_delta",
                        "index": at,
                        "delta": {"type": kind, member: piece},
                    }
                    for piece in _halves(grown)
                ]
                events.append({"type": "content_block_stop", "index": at})
            delta = {"stop_reason": reason}
            events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}})
            return frames(*events, {"type": "message_stop"})
        case _:
            response = orjson.loads(document(protocol, text, calls, reason))
            events = [{"type": "response.created", "response": {"model": "m"}}]
            for at, item in enumerate(response["output"]):
                where = {"output_index": at, "content_index": 0}
                grown = text if item["type"] == "message" else item["arguments"]
                name = "content" if item["type"] == "message" else "arguments"
                kind = "output_text" if item["type"] == "message" else "function_call_arguments"
                blank = {**item, name: [] if name == "content" else ""}
                events.append({"type": "response.output_item.added", **where, "item": blank})
                events += [
                    {"type": f"response.{kind}.delta", **where, "delta": piece}
                    for piece in _halves(grown)
                ]
                events.append({"type": "response.output_item.done", **where, "item": item})
            kind = f"response.{response['status']}"
            return frames(*events, {"type": kind, "response": response})


_JSON_DELTA = ("input_json_delta", "partial_json")


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [piece for piece in (text[:middle], text[middle:]) if piece]


def frames(*events: Json) -> list[Frame]:
    """Return events as their JSON text; halves of characters are escaped."""
    return [(event.get("type"), json.dumps(event).encode()) for event in events]


def body(stream: list[Frame]) -> bytes:
    """Return the body of a stream of server-sent events."""
    return b"".join(
        (b"event: %b\n" % name.encode() if name else b"") + b"data: %b\n\n" % data
        for name, data in stream
    )


def decoded(protocol: Protocol, stream: list[Frame]) -> list[Event]:
    decoder = PROTOCOLS[protocol].provider.decoder()
    events = [event for name, data in stream for event in decoder.feed(name, data)]
    return events + decoder.finish()


def replied(protocol: Protocol, stream: list[Frame]) -> Reply:
    return fold(decoded(protocol, stream))
