"""A conversation that ends with an answer, for models that continue one and for others."""

import pytest

from polyvox.protocols.dialects.final_turn import CONTINUE, NO_PREFILL
from polyvox.protocols.provider_side import Rendered
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation, Json, Opaque, Text, Wire, assistant, user

SAID = "The answer is ( "
from_all = pytest.mark.parametrize("client", PROTOCOLS)


def request(client: str) -> Conversation:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": SAID}]
    body: Json = {"model": "m", "max_tokens": 9, "messages": turns}
    if client == "responses":
        body = {"model": "m", "input": turns}
    return PROTOCOLS[client].parser.parse(body, {}).conversation


def rendered(conversation: Conversation, model: str) -> Rendered:
    return PROTOCOLS["messages"].provider.render(conversation, model)


@from_all
@pytest.mark.parametrize("model", ["claude-sonnet-4-6", "claude-opus-4-8", "claude-opus-5"])
def test_a_model_without_prefill_gets_a_user_turn(client: str, model: str) -> None:
    """From clients of all protocols, and not only from those of its own."""
    request_ = rendered(request(client), model)
    assert request_.body["messages"][-1] == {"role": "user", "content": CONTINUE}
    assert SAID.strip() in str(request_.body["messages"][-2])
    assert NO_PREFILL in request_.losses


@from_all
def test_an_older_model_continues_the_answer(client: str) -> None:
    """Of another protocol's text the end is trimmed: the API refuses white space there."""
    last = rendered(request(client), "claude-sonnet-4-5").body["messages"][-1]
    assert last["role"] == "assistant"
    text = last["content"] if client == "messages" else last["content"][-1]["text"]
    assert text == (SAID if client == "messages" else SAID.rstrip())


@from_all
def test_a_model_that_thinks_gets_a_user_turn(client: str) -> None:
    """Thinking and a begun answer exclude each other."""
    asked = request(client).with_options(effort="high", max_tokens=9000)
    assert rendered(asked, "claude-sonnet-4-5").body["messages"][-1]["role"] == "user"


@from_all
def test_another_model_gets_what_its_own_clients_send(client: str) -> None:
    last = rendered(request(client), "deepseek-chat").body["messages"][-1]
    assert last["role"] == ("assistant" if client == "messages" else "user")


def test_a_paused_answer_is_continued_as_it_stands() -> None:
    """A flow sends it back without a user turn, and so does a client."""
    block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    paused = assistant(Text("Wait."), Opaque(wire=Wire("messages", block)))
    flow = Conversation((user("Hi"), paused))
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [block]}]
    body = {"model": "m", "max_tokens": 9, "messages": turns}
    client = PROTOCOLS["messages"].parser.parse(body, {}).conversation
    for conversation in (flow, client):
        assert rendered(conversation, "claude-opus-4-8").body["messages"][-1]["role"] == "assistant"
