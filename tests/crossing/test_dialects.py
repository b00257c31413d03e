"""Recorded requests, rendered for every known server and for an unknown one."""

import orjson
import pytest

from polyvox.protocols.dialects.dialect import PLAIN, Dialect
from polyvox.protocols.dialects.servers import SERVERS
from polyvox.protocols.provider_side import Rendered
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation, Protocol
from polyvox.workflows.errors import ModelError
from tests.crossing.passages import others, requests
from tests.programs.strict_server import fault_of
from tests.samples.recordings import Exchange

REQUESTS = [pytest.param(exchange, id=exchange.id) for exchange in requests()]


RESULT_WITHOUT_CALL = "test_openai_conversation_id_tool_call_continuation#2"
"""Its call is in a conversation that only the recorded server had."""


def conversation_of(exchange: Exchange) -> Conversation:
    parser = PROTOCOLS[exchange.protocol].parser
    return parser.parse(exchange.request, exchange.request_headers).conversation


def rendered(exchange: Exchange, over: Protocol, dialect: Dialect) -> Rendered | None:
    """Render the request; None for one that the protocol cannot carry."""
    try:
        return PROTOCOLS[over].provider.render(conversation_of(exchange), "a-model", dialect)
    except ModelError:
        return None


@pytest.mark.parametrize("exchange", REQUESTS)
def test_a_recorded_request_has_the_plain_form_for_an_unknown_server(exchange: Exchange) -> None:
    """A server that refuses all but the plain form takes the request of every other protocol."""
    request = rendered(exchange, "chat", PLAIN)
    if request is None or exchange.protocol == "chat" or exchange.id.endswith(RESULT_WITHOUT_CALL):
        return
    assert fault_of(request.body) is None


@pytest.mark.parametrize("exchange", REQUESTS)
def test_a_recorded_request_is_rendered_for_every_known_server(exchange: Exchange) -> None:
    """Whatever is left out or rewritten, the request is JSON and its losses fit in a header."""
    protocols: list[Protocol] = [exchange.protocol, *others(exchange.protocol)]
    for server in SERVERS.values():
        for over in protocols:
            request = rendered(exchange, over, server.dialect)
            if request is None:
                continue
            assert orjson.dumps(request.body)
            assert over != "chat" or not server.dialect.refuses & request.body.keys()
            assert all(loss.isascii() for loss in request.losses)
