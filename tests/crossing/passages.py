"""How a recorded exchange crosses from one protocol to another, and back."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

import orjson
from openai.types.responses import ResponseIncludable

from polyvox.protocols.client_side import Ask
from polyvox.protocols.sse import Frame, FrameSplitter
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Options,
    Protocol,
    Reasoning,
    Refusal,
    Tool,
    Wire,
    user,
)
from polyvox.workflows.events import Event
from polyvox.workflows.reply import METERS, FinishReason, Reply, Usage
from tests.samples.recordings import Exchange, exchanges

RUN_ID = "run_1"
CREATED = 1_790_000_000


def others(protocol: Protocol) -> tuple[Protocol, ...]:
    return tuple(other for other in PROTOCOLS if other != protocol)


def requests() -> list[Exchange]:
    """The recorded requests that ask a model to answer and were not refused."""
    return [
        e
        for protocol in PROTOCOLS
        for e in exchanges(protocol)
        if e.generates and e.status == 200 and e.request is not None
    ]


def answers() -> list[Exchange]:
    """The recorded answers of a model that are complete."""
    return [
        e
        for protocol in PROTOCOLS
        for e in exchanges(protocol)
        if e.generates and e.status == 200 and (e.stream is not None or e.answer is not None)
    ]


def decoded(exchange: Exchange) -> list[Event]:
    """Return the events of a recorded answer, by the decoder of its own protocol."""
    frames = (
        split(exchange.stream)
        if exchange.stream is not None
        else as_stream(exchange.protocol, exchange.answer)
    )
    return decode(exchange.protocol, frames)


def split(stream: bytes) -> list[Frame]:
    splitter = FrameSplitter()
    return [*splitter.feed(stream), *splitter.finish()]


def decode(protocol: Protocol, frames: Iterable[Frame]) -> list[Event]:
    decoder = PROTOCOLS[protocol].provider.decoder()
    events = [event for name, data in frames for event in decoder.feed(name, data)]
    return [*events, *decoder.finish()]


def encode(ask: Ask, events: Iterable[Event], reply: Reply) -> list[Frame]:
    """Return the frames a client gets, of the events and then of the Reply they fold to."""
    encoder = PROTOCOLS[ask.protocol].answers.encoder(ask, run_id=RUN_ID, created=CREATED)
    stream = b"".join([encoder.feed(event) for event in events])
    return split(stream + encoder.finish(reply))


def asked(protocol: Protocol, *tools: Tool) -> Ask:
    """Return a streaming Ask of ``protocol`` that wants to be told everything there is."""
    wishes: dict[Protocol, dict[str, Json]] = {
        "chat": {"stream_options": {"include_usage": True}},
        "responses": {"include": list(get_args(ResponseIncludable))},
        "messages": {"max_tokens": 1000},
    }
    options = Options(wire=Wire(protocol, wishes[protocol]))
    return Ask(
        protocol,
        "model",
        Conversation((user("Hi"),), tools=tools, options=options),
        stream=True,
    )


def as_stream(protocol: Protocol, answer: Json) -> list[Frame]:
    """Spell a whole answer as the shortest stream that says the same."""
    return {"chat": _chat_chunks, "responses": _response_events, "messages": _message_events}[
        protocol
    ](answer)


def _chat_chunks(answer: Json) -> list[Frame]:
    choices = [
        {**{k: v for k, v in choice.items() if k != "message"}, "delta": choice["message"]}
        for choice in answer["choices"]
    ]
    chunk = {**answer, "object": "chat.completion.chunk", "choices": choices}
    return [(None, orjson.dumps(chunk)), (None, b"[DONE]")]


def _response_events(answer: Json) -> list[Frame]:
    kind = f"response.{answer['status']}"
    return [(kind, orjson.dumps({"type": kind, "response": answer}))]


def _message_events(answer: Json) -> list[Frame]:
    ending = ("stop_reason", "stop_sequence", "stop_details", "container")
    events: list[Json] = [{"type": "message_start", "message": {**answer, "content": []}}]
    for index, block in enumerate(answer["content"]):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events.append({"type": "content_block_stop", "index": index})
    delta = {name: answer[name] for name in ending if name in answer}
    events.append({"type": "message_delta", "delta": delta, "usage": answer["usage"]})
    events.append({"type": "message_stop"})
    return [(event["type"], orjson.dumps(event)) for event in events]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What of an answer every client must be told alike."""

    text: str
    calls: tuple[tuple[str, str, Json], ...]
    refusal: str
    finish: FinishReason
    usage: Usage


def meaning(reply: Reply) -> Meaning:
    return Meaning(
        reply.text,
        tuple((call.id, call.name, _arguments(call.arguments)) for call in reply.tool_calls),
        "".join(part.text for part in reply.parts if isinstance(part, Refusal)),
        reply.finish,
        _counted(reply.usage),
    )


def thoughts(reply: Reply) -> list[tuple[str, str | None, str | None, bool]]:
    """The reasoning of an answer: text, secret, whose secret, whether redacted."""
    return [
        (part.text, part.opaque, part.origin, part.redacted)
        for part in reply.parts
        if isinstance(part, Reasoning)
    ]


def _arguments(text: str) -> Json:
    """Return the arguments as a value: a protocol may spell them with other spaces."""
    try:
        return orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return text


def _counted(usage: Usage) -> Usage:
    """Return ``usage`` with what was not said as zero: some protocols must say a number."""
    return Usage(*(getattr(usage, name) or 0 for name in METERS))
