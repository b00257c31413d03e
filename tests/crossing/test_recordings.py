"""Recorded exchanges, through the fronts and providers of the protocols they were not made for."""

import orjson
import pytest

from polyvox.protocols.coverage.answer_losses import answer_losses
from polyvox.protocols.provider_side import Rendered
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation, Json, Opaque, Protocol, Reasoning
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import fold
from polyvox.workflows.reply import Reply
from tests.crossing.exceptions import NO_ANSWERS, OTHER_WORDS, REFUSED_REQUESTS, UNTYPED
from tests.crossing.passages import (
    CREATED,
    RUN_ID,
    Meaning,
    answers,
    asked,
    decode,
    decoded,
    encode,
    meaning,
    others,
    requests,
    thoughts,
)
from tests.crossing.validators import check_document, check_stream
from tests.samples.recordings import Exchange


def crossings(exchanges: list[Exchange]) -> list[object]:
    return [
        pytest.param(e, to, id=f"{e.id} to {to}") for e in exchanges for to in others(e.protocol)
    ]


def _is_listed(exchange: Exchange, table: dict[str, str]) -> bool:
    return any(name in exchange.id for name in table)


COMPLETE = [e for e in answers() if not _is_listed(e, {**NO_ANSWERS, **OTHER_WORDS})]


@pytest.mark.parametrize(("exchange", "over"), crossings(requests()))
def test_a_recorded_request_is_rendered_for_another_provider(
    exchange: Exchange, over: Protocol
) -> None:
    """It crosses, or it is refused for a field that the table of exceptions has."""
    ask = PROTOCOLS[exchange.protocol].parser.parse(exchange.request, exchange.request_headers)
    rendered, refused = _rendered(ask.conversation, over)
    if rendered is None:
        assert refused is not None
        assert refused.kind == "unsupported"
        assert (exchange.protocol, refused.param) in REFUSED_REQUESTS
        return
    assert rendered.body["input" if over == "responses" else "messages"]
    for loss in rendered.losses:
        assert loss.isascii(), "losses go into a header"


def _rendered(
    conversation: Conversation, over: Protocol
) -> tuple[Rendered | None, ModelError | None]:
    try:
        return PROTOCOLS[over].provider.render(conversation, "a-model"), None
    except ModelError as refused:
        return None, refused


@pytest.mark.parametrize(("exchange", "to"), crossings(COMPLETE))
def test_a_recorded_answer_says_the_same_to_another_client(
    exchange: Exchange, to: Protocol
) -> None:
    """Valid by the SDK's types; same text, calls, usage, thoughts and reason to stop."""
    events = decoded(exchange)
    reply = fold(events)
    frames = encode(asked(to), events, reply)
    document = PROTOCOLS[to].answers.render(asked(to), reply, run_id=RUN_ID, created=CREATED)
    if not any((to, call.kind) in UNTYPED for call in reply.tool_calls):
        check_stream(to, frames)
        check_document(to, document)
    for again in (fold(decode(to, frames)), _whole(to, reply)):
        assert meaning(again) == _expected(reply, to)
    if any(isinstance(part, Opaque) for part in reply.parts):
        assert answer_losses(reply, to)
    assert all(loss.isascii() for loss in answer_losses(reply, to))


@pytest.mark.parametrize(
    ("exchange", "to"),
    crossings([e for e in COMPLETE if any(t[1] for t in thoughts(fold(decoded(e))))]),
)
def test_sealed_thoughts_come_back_with_the_clients_next_turn(
    exchange: Exchange, to: Protocol
) -> None:
    """They are unsealed for the provider that wrote them, and kept from any other."""
    reply = fold(decoded(exchange))
    document = PROTOCOLS[to].answers.render(asked(to), reply, run_id=RUN_ID, created=CREATED)
    conversation = PROTOCOLS[to].parser.parse(_next_turn(to, document), {}).conversation
    came_back = [
        part
        for message in conversation.messages
        for part in message.parts
        if isinstance(part, Reasoning) and part.opaque
    ]
    sealed = [t for t in thoughts(reply) if t[1]]
    assert [(p.text, p.opaque, p.origin, p.redacted) for p in came_back] == sealed
    home = orjson.dumps(PROTOCOLS[exchange.protocol].provider.render(conversation, "a-model").body)
    assert all(str(secret).encode() in home for _, secret, _, _ in sealed)
    for over in others(exchange.protocol):
        rendered = PROTOCOLS[over].provider.render(conversation, "a-model")
        abroad = orjson.dumps(rendered.body)
        assert not any(str(secret).encode() in abroad for _, secret, _, _ in sealed)
        assert b"polyvox.1." not in abroad
        assert any(loss.startswith("reasoning") for loss in rendered.losses)


def _next_turn(to: Protocol, document: Json) -> Json:
    """The request with which a client of ``to`` goes on from an answer."""
    question = {"role": "user", "content": "And then?"}
    if to == "responses":
        return {"model": "m", "input": [question, *document["output"], question]}
    said = (
        document["choices"][0]["message"]
        if to == "chat"
        else {"role": "assistant", "content": document["content"]}
    )
    return {"model": "m", "max_tokens": 2000, "messages": [question, said, question]}


def _whole(to: Protocol, reply: Reply) -> Reply:
    """The reply of which nothing was shown before its end."""
    return fold(decode(to, encode(asked(to), [], reply)))


def _expected(reply: Reply, to: Protocol) -> Meaning:
    said = meaning(reply)
    finish = reply.finish
    if finish == "pause" and to != "messages":
        # Nobody sees it: the run goes on from a pause. As a last word it is an unfinished answer.
        finish = "length"
    # Without namespaces and free-form calls, which no tool of this client asked for.
    calls = tuple(
        (
            call.id,
            f"{call.namespace}__{call.name}" if call.namespace else call.name,
            {"input": call.arguments} if call.kind == "custom" and to == "messages" else arguments,
        )
        for call, (_, _, arguments) in zip(reply.tool_calls, said.calls, strict=True)
    )
    return Meaning(said.text, calls, said.refusal, finish, said.usage)


@pytest.mark.parametrize(
    "exchange", [e for e in answers() if _is_listed(e, NO_ANSWERS)], ids=lambda e: e.id
)
def test_an_answer_that_is_none_never_becomes_a_reply(exchange: Exchange) -> None:
    with pytest.raises(ModelError):
        fold(decoded(exchange))
