"""Every recorded answer, given to a client of the provider's own protocol, is what it was."""

from dataclasses import replace

import orjson
import pytest

from polyvox.workflows.conversation import Part, Refusal, ToolCall
from polyvox.workflows.events import fold
from polyvox.workflows.reply import METERS, Reply, Usage
from tests.golden.comparisons import brought_back, in_answer, in_next_turn, unmeant
from tests.golden.passage import (
    UNREADABLE,
    answers,
    arriving,
    asked,
    body,
    decoded,
    encoded,
    parsed,
    provided,
    replied,
)
from tests.golden.streams import accumulated
from tests.samples.recordings import Exchange

every_answer = pytest.mark.parametrize("exchange", answers(), ids=lambda exchange: exchange.id)
every_stream = pytest.mark.parametrize(
    "exchange", [e for e in answers() if e.stream is not None], ids=lambda exchange: exchange.id
)
readable = [e for e in answers() if not any(name in e.id for name in UNREADABLE)]


@every_answer
def test_the_client_gets_what_the_provider_gave(exchange: Exchange) -> None:
    """As one document and as a stream; the exceptions are those of the table."""
    assert unmeant(exchange, in_answer(exchange)) == []


@every_stream
def test_a_stream_may_be_cut_anywhere(exchange: Exchange) -> None:
    """The network's pieces are not the provider's."""
    assert arriving(exchange) == provided(exchange)


@every_answer
def test_what_was_encoded_decodes_to_the_same_reply(exchange: Exchange) -> None:
    """Whether it went out event by event, or all at the end from the Reply alone."""
    events, reply = replied(exchange)
    ask = asked(exchange)
    for emitted in (events, ()):
        again = fold(decoded(exchange.protocol, encoded(ask, emitted, reply)))
        assert comparable(again) == comparable(reply)


@pytest.mark.parametrize("exchange", readable, ids=lambda exchange: exchange.id)
def test_an_answer_survives_into_the_next_turn(exchange: Exchange) -> None:
    """Signatures, sealed reasoning and blocks nobody knows go back to the provider as they came."""
    assert unmeant(exchange, in_next_turn(exchange)) == []


@pytest.mark.parametrize("exchange", readable, ids=lambda exchange: exchange.id)
def test_what_the_client_brings_back_is_what_the_reply_said(exchange: Exchange) -> None:
    """The history of the next request holds the parts of the Reply it follows."""
    protocol = exchange.protocol
    _, reply = replied(exchange)
    answer = exchange.answer or accumulated(protocol, encoded(asked(exchange), (), reply))
    document = body(exchange)
    field = "input" if protocol == "responses" else "messages"
    said = document[field] if isinstance(document[field], list) else []
    echo = brought_back(protocol, answer)
    ask = parsed(exchange, **{field: [*said, *echo]})
    brought = [part for m in ask.conversation.messages[len(said) :] for part in m.parts]
    assert [settled(part) for part in brought] == [
        settled(part)
        for part in reply.parts
        # A client of Messages keeps the content alone, and why it stopped is not in it.
        if not (protocol == "messages" and isinstance(part, Refusal))
    ]


def settled(part: Part) -> Part:
    """The part with its arguments in one spelling: a client of Messages brings back an object."""
    if isinstance(part, ToolCall) and part.kind == "function":
        return replace(part, arguments=orjson.dumps(orjson.loads(part.arguments)).decode())
    return part


def comparable(reply: Reply) -> Reply:
    """The reply without its model's name, which is ours; what no usage says counts as nothing."""
    usage = Usage(*(getattr(reply.usage, name) or 0 for name in METERS))
    return replace(reply, model="", usage=usage, wire=None)
