"""One recorded exchange on its way through us: from its provider to a client of its protocol."""

from collections.abc import Iterable
from functools import cache
from typing import get_args

import orjson
from openai.types.responses import ResponseIncludable

from polyvox.protocols.client_side import Ask
from polyvox.protocols.sse import Frame
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.conversation import Json, Protocol
from polyvox.workflows.events import Event, fold
from polyvox.workflows.reply import Reply
from tests.golden.streams import frames, frames_in_pieces, spelled
from tests.samples.recordings import Exchange, exchanges

RUN_ID = "run-1"
CREATED = 1_790_000_000

_LEAST: dict[Protocol, Json] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "responses": {
        "model": "m",
        "input": [{"role": "user", "content": "Hi"}],
        "include": list(get_args(ResponseIncludable)),
    },
    "messages": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
}
"""A request for answers that were kept without theirs."""

STATE = ("background", "conversation", "previous_response_id")
"""Fields of a Responses request that the gateway's own store answers."""

GARBLED = {
    "spliced-message-start": "A proxy broke one answer off and began another within it.",
    "openai-error.1": "The answer is an error in the stream.",
}
"""Recorded streams that are no answer, and why."""

UNREADABLE = {"github-copilot-id-rotation": "The provider renames its items in every event."}
"""Recorded streams that the official SDK refuses to put together, and why."""


def requests() -> list[Exchange]:
    """All recorded requests for a model's answer."""
    return [e for p in PROTOCOLS for e in exchanges(p) if e.generates and e.request is not None]


def answers() -> list[Exchange]:
    """All recorded answers of a model."""
    return [
        e
        for p in PROTOCOLS
        for e in exchanges(p)
        if (e.generates or (e.answer or {}).get("object") == "response")
        and e.status == 200
        and (e.answer or {}).get("status") not in ("queued", "in_progress")
        and not any(name in e.id for name in GARBLED)
    ]


def body(exchange: Exchange) -> Json:
    """The request, without what the gateway's own store answers."""
    said = exchange.request or _LEAST[exchange.protocol]
    return {name: value for name, value in said.items() if name not in STATE}


def parsed(exchange: Exchange, **fields: Json) -> Ask:
    """The request as the front parses it, with ``fields`` in place of its own."""
    document = {**body(exchange), **fields}
    return PROTOCOLS[exchange.protocol].parser.parse(document, exchange.request_headers)


def asked(exchange: Exchange) -> Ask:
    """The request of a client that wants to be told the usage."""
    wishes = {"stream_options": {"include_usage": True}} if exchange.protocol == "chat" else {}
    return parsed(exchange, **wishes)


def provided(exchange: Exchange) -> list[Frame]:
    """The provider's stream, recorded or spelled from the whole answer that was."""
    if exchange.stream is None:
        return spelled(exchange.protocol, exchange.answer)
    return frames(one_answer(exchange.stream))


def arriving(exchange: Exchange) -> list[Frame]:
    """The provider's stream, cut into pieces anywhere."""
    if exchange.stream is None:
        return provided(exchange)
    return frames_in_pieces(one_answer(exchange.stream), exchange.id)


def one_answer(stream: bytes) -> bytes:
    """The stream to the end of its first answer: the keeper of one recording joined two."""
    head, end, _ = stream.partition(b"event: message_stop\n")
    return head + end + b'data: {"type":"message_stop"}\n\n' if end else stream


def decoded(protocol: Protocol, stream: Iterable[Frame]) -> list[Event]:
    decoder = PROTOCOLS[protocol].provider.decoder()
    events = [event for name, data in stream for event in decoder.feed(name, data)]
    return events + decoder.finish()


@cache
def replied(exchange: Exchange) -> tuple[tuple[Event, ...], Reply]:
    """The events of the answer, and its Reply as it comes out of a run's history."""
    events = decoded(exchange.protocol, arriving(exchange))
    return tuple(events), load(orjson.loads(orjson.dumps(dump(fold(events)))))


def encoded(ask: Ask, events: Iterable[Event], reply: Reply) -> list[Frame]:
    """What the client gets: ``events`` as they come, then what they did not say of ``reply``."""
    encoder = PROTOCOLS[ask.protocol].answers.encoder(ask, run_id=RUN_ID, created=CREATED)
    stream = b"".join([encoder.feed(event) for event in events])
    return frames(stream + encoder.finish(reply))
