"""What differs between an exchange as it was recorded and as it passed through us."""

from functools import cache

from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json, Protocol
from tests.golden.differences import TABLE, Difference, differences
from tests.golden.passage import (
    CREATED,
    RUN_ID,
    UNREADABLE,
    asked,
    encoded,
    parsed,
    provided,
    replied,
)
from tests.golden.streams import accumulated, spelled, story
from tests.samples.recordings import Exchange


def unmeant(exchange: Exchange, found: tuple[Difference, ...]) -> list[Difference]:
    """The differences that no row of the table covers."""
    return [
        difference
        for difference in found
        if not any(row.covers(exchange.protocol, exchange.id, difference) for row in TABLE)
    ]


@cache
def in_request(exchange: Exchange) -> tuple[Difference, ...]:
    """Between what the client sent and what the provider is asked."""
    rendered = PROTOCOLS[exchange.protocol].provider.render(
        parsed(exchange).conversation, exchange.request["model"]
    )
    return tuple(differences(exchange.request, rendered.body, "request"))


@cache
def in_answer(exchange: Exchange) -> tuple[Difference, ...]:
    """Between what the provider gave and what the client gets, as a document and as a stream."""
    protocol, ask = exchange.protocol, asked(exchange)
    events, reply = replied(exchange)
    given, sent = provided(exchange), encoded(ask, events, reply)
    rendered = PROTOCOLS[protocol].answers.render(ask, reply, run_id=RUN_ID, created=CREATED)
    found: list[Difference] = []
    if exchange.answer is not None:
        found += differences(exchange.answer, rendered, "document")
    if not any(name in exchange.id for name in UNREADABLE):
        whole = accumulated(protocol, given)
        for frames in (sent, spelled(protocol, rendered)):
            found += differences(whole, accumulated(protocol, frames), "document")
    if exchange.stream is not None:
        found += differences(story(protocol, given), story(protocol, sent), "events")
    return tuple(found)


@cache
def in_next_turn(exchange: Exchange) -> tuple[Difference, ...]:
    """Between what a client of the provider would send back as history and what we send.

    A flow goes on from the Reply itself, without a client that brings the answer back.
    """
    protocol, ask = exchange.protocol, asked(exchange)
    _, reply = replied(exchange)
    answer = exchange.answer or accumulated(protocol, provided(exchange))
    field = "input" if protocol == "responses" else "messages"
    render = PROTOCOLS[protocol].provider.render
    before = len(render(ask.conversation, ask.model).body[field])
    said = render(ask.conversation.then(reply.message), ask.model).body[field]
    echo = brought_back(protocol, answer)
    # What follows are results for its calls, which are missing here.
    return tuple(differences(_said(echo), _said(said[before : before + len(echo)]), "echo"))


def brought_back(protocol: Protocol, answer: Json) -> list[Json]:
    """What a client of the provider adds to its history after ``answer``."""
    match protocol:
        case "chat":
            return [answer["choices"][0]["message"]]
        case "responses":
            output: list[Json] = answer["output"]
            return output
        case _:
            return [{"role": "assistant", "content": answer["content"]}]


def _said(value: Json) -> Json:
    """``value`` without members that are null, which say nothing, and the SDK's own."""
    if isinstance(value, list):
        return [_said(element) for element in value]
    if not isinstance(value, dict):
        return value
    own = ("index",) if "function" in value else ()
    return {k: _said(v) for k, v in value.items() if v is not None and k not in own}
