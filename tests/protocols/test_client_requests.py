"""The fronts take what real coding agents send, and a provider gets it back as it was.

The requests were recorded from the pinned agents and trimmed: long texts and schemas are cut, ids
and paths replaced; structure, field names and types are the agents' own.
"""

from pathlib import Path
from typing import Any

import orjson
import pytest

from polyvox.protocols.client_side import Ask, RequestParser
from polyvox.protocols.messages.client import request as messages_front
from polyvox.protocols.responses.client import request as responses_front
from polyvox.protocols.table import PROTOCOLS

CLIENTS = Path(__file__).parents[1] / "fixtures" / "clients"

PARSERS: dict[str, RequestParser] = {"claude_code": messages_front, "codex": responses_front}

RECORDED = {
    f"{client}: {request['name']}": (client, request)
    for client in PARSERS
    for request in orjson.loads((CLIENTS / f"{client}.json").read_bytes())
}


def parsed(title: str) -> tuple[Ask, Any]:
    client, request = RECORDED[title]
    return PARSERS[client].parse(request["body"], request["headers"]), request["body"]


@pytest.mark.parametrize("title", RECORDED)
def test_a_provider_of_the_same_protocol_gets_the_very_request(title: str) -> None:
    """Nothing is added, dropped or respelled on the way through."""
    ask, body = parsed(title)
    rendered = PROTOCOLS[ask.protocol].provider.render(ask.conversation, ask.model)
    assert rendered.body == body
    assert not rendered.losses


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("title", RECORDED)
def test_a_provider_of_another_protocol_gets_the_user_s_words(title: str, protocol: str) -> None:
    """What another protocol cannot say is a named loss; the request is never refused for it."""
    ask, _ = parsed(title)
    rendered = PROTOCOLS[protocol].provider.render(ask.conversation, ask.model)
    assert "ROUNDS" in orjson.dumps(rendered.body).decode()
    assert all(rendered.losses)
    assert bool(rendered.losses) == (protocol != ask.protocol)


@pytest.mark.parametrize("title", [title for title in RECORDED if "first turn" in title])
def test_a_first_turn_is_the_user_s(title: str) -> None:
    """Instructions an agent puts behind the user's message do not make it anyone else's turn."""
    ask, _ = parsed(title)
    assert ask.conversation.opens_turn
    assert "ROUNDS" in ask.conversation.last_user_text


@pytest.mark.parametrize("title", [title for title in RECORDED if "first turn" not in title])
def test_a_tool_s_result_is_not_the_user_s_turn(title: str) -> None:
    """The agent comes back with results: the user has said nothing new."""
    ask, _ = parsed(title)
    assert not ask.conversation.opens_turn
