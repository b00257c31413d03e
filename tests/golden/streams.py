"""Streams and documents of the three protocols, read as the official SDKs read them.

``accumulated`` is the document a client of the SDK ends with. ``story`` is the stream itself with
its accidents taken out: the numbers of events, padding, and where deltas were cut.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx2
import orjson
from anthropic.lib.streaming._beta_messages import accumulate_event
from anthropic.types.beta import BetaRawMessageStreamEvent
from anthropic.types.beta.parsed_beta_message import ParsedBetaMessage
from openai import omit
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from polyvox.protocols.sse import Frame, FrameSplitter
from polyvox.workflows.conversation import Json, Protocol

_CUTS = (1, 2, 3, 7, 50, 500, 4000)


def frames(stream: bytes) -> list[Frame]:
    splitter = FrameSplitter()
    return splitter.feed(stream) + splitter.finish()


def frames_in_pieces(stream: bytes, seed: str) -> list[Frame]:
    """The frames of a stream that arrives cut anywhere; ``seed`` decides where."""
    chance, splitter = random.Random(seed), FrameSplitter()
    found: list[Frame] = []
    at = 0
    while at < len(stream):
        size = chance.choice(_CUTS)
        found += splitter.feed(stream[at : at + size])
        at += size
    return found + splitter.finish()


def spelled(protocol: Protocol, answer: Json) -> list[Frame]:
    """The stream by which a provider would have given the whole answer ``answer``."""
    return [(e.get("type"), orjson.dumps(e)) for e in _SPELLINGS[protocol](answer)]


def _chat_chunks(answer: Json) -> Iterator[Json]:
    head = {k: v for k, v in answer.items() if k not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    [choice] = answer["choices"]
    delta = dict(choice["message"])
    if delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
    beside = {k: v for k, v in choice.items() if k not in ("message", "finish_reason")}
    yield {**head, "choices": [{**beside, "delta": delta, "finish_reason": None}]}
    ending = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    yield {**head, "choices": [ending]}
    yield {**head, "choices": [], "usage": answer.get("usage")}


def _response_events(answer: Json) -> Iterator[Json]:
    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    for index, item in enumerate(answer["output"]):
        added = {**item, "content": []} if item["type"] == "message" else item
        yield {"type": "response.output_item.added", "output_index": index, "item": added}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    ended = "incomplete" if answer["status"] == "incomplete" else "completed"
    yield {"type": f"response.{ended}", "response": answer}


_OF_DELTA = ("stop_reason", "stop_sequence", "stop_details", "container")


def _message_events(answer: Json) -> Iterator[Json]:
    begun = {k: v for k, v in answer.items() if k not in (*_OF_DELTA, "context_management")}
    nothing: Json = {"content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": {**begun, **nothing}}
    for index, block in enumerate(answer["content"]):
        blank, deltas = _block(block)
        yield {"type": "content_block_start", "index": index, "content_block": blank}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    beside = {k: answer[k] for k in ("context_management",) if k in answer}
    delta = {k: answer[k] for k in _OF_DELTA if k in answer}
    yield {"type": "message_delta", "delta": delta, "usage": answer["usage"], **beside}
    yield {"type": "message_stop"}


def _block(block: Json) -> tuple[Json, list[Json]]:
    match block["type"]:
        case "text":
            cited = block.get("citations") or []
            deltas = [{"type": "citations_delta", "citation": citation} for citation in cited]
            blank = {**block, "text": "", **({"citations": []} if cited else {})}
            return blank, [*deltas, {"type": "text_delta", "text": block["text"]}]
        case "thinking":
            return {**block, "thinking": "", "signature": ""}, [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            spelled = orjson.dumps(block["input"]).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": spelled}]
        case "compaction":
            rest = {k: v for k, v in block.items() if k != "type"}
            blank = {"type": "compaction", **dict.fromkeys(rest)}
            return blank, [{"type": "compaction_delta", **rest}]
        case _:
            return block, []


_SPELLINGS: dict[Protocol, Callable[[Json], Iterator[Json]]] = {
    "chat": _chat_chunks,
    "responses": _response_events,
    "messages": _message_events,
}


def accumulated(protocol: Protocol, stream: list[Frame]) -> Json:
    """The final document of a stream, put together by the official SDK."""
    return _ACCUMULATORS[protocol](documents(stream))


def documents(stream: list[Frame]) -> list[Json]:
    return [orjson.loads(data) for _, data in stream if data != b"[DONE]"]


def _chat_completion(chunks: list[Json]) -> Json:
    state = ChatCompletionStreamState[Any]()
    for chunk in chunks:
        typed = construct_type(type_=ChatCompletionChunk, value=chunk)
        state.handle_chunk(cast(ChatCompletionChunk, typed))
    return state.current_completion_snapshot.to_dict()


def _response(events: list[Json]) -> Json:
    state = ResponseStreamState[Any](input_tools=omit, text_format=omit)
    for event in events:
        if event["type"] != "keepalive":
            typed = construct_type(type_=cast(Any, ResponseStreamEvent), value=event)
            state.handle_event(cast(ResponseStreamEvent, typed))
    assert state._completed_response is not None
    return state._completed_response.to_dict()


def _message(events: list[Json]) -> Json:
    snapshot: ParsedBetaMessage[Any] | None = None
    pieces: dict[int, bytes] = {}
    for event in events:
        if event["type"] != "ping":
            snapshot = accumulate_event(
                event=cast(BetaRawMessageStreamEvent, event),
                current_snapshot=snapshot,
                json_bufs=pieces,
                request_headers=httpx2.Headers(),
            )
    assert snapshot is not None
    return snapshot.to_dict()


_ACCUMULATORS: dict[Protocol, Callable[[list[Json]], Json]] = {
    "chat": _chat_completion,
    "responses": _response,
    "messages": _message,
}


def story(protocol: Protocol, stream: list[Frame]) -> list[Json]:
    """The events of a stream in order, each run of like deltas as one.

    Chat has no events but chunks; all they say is in the accumulated document.
    """
    match protocol:
        case "chat":
            return []
        case "responses":
            return _response_story(documents(stream))
        case _:
            return _message_story(documents(stream))


_LIFECYCLE = frozenset(
    f"response.{state}" for state in ("created", "queued", "in_progress", "completed", "incomplete")
)


def _response_story(events: list[Json]) -> list[Json]:
    told: list[Json] = []
    # Items may be written side by side; each has its own story.
    for whole in sorted(events, key=lambda e: e.get("output_index", -1)):
        if whole["type"] in _LIFECYCLE:
            # The response object is compared in the accumulated document.
            continue
        event = {k: v for k, v in whole.items() if k not in ("sequence_number", "obfuscation")}
        if isinstance(event.get("delta"), str) and told and _place(told[-1]) == _place(event):
            told[-1]["delta"] += event["delta"]
            if "logprobs" in event:
                told[-1]["logprobs"] = told[-1].get("logprobs", []) + event["logprobs"]
        else:
            told.append(event)
    return told


def _place(event: Json) -> Json:
    return {k: v for k, v in event.items() if k not in ("delta", "logprobs", "item_id")}


_GROWING = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}


def _message_story(events: list[Json]) -> list[Json]:
    told: list[Json] = []
    for event in events:
        if event["type"] == "ping":
            continue
        delta = event.get("delta") or {}
        member = _GROWING.get(delta.get("type", ""))
        if member is None:
            told.append(event)
        elif (last := told[-1].get("delta")) and last.get("type") == delta["type"]:
            last[member] += delta[member]
        elif delta[member]:
            told.append(event)
    return told
