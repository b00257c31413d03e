"""Any history of any client becomes a request that a strict provider accepts."""

from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvox.protocols.chat import history as chat
from polyvox.protocols.history import pairing
from polyvox.protocols.history.order import is_in_order
from polyvox.protocols.messages import history as messages_history
from polyvox.protocols.responses import history as responses
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json, Protocol
from tests.samples.histories import NAMES, ORDERED_STEPS, STEPS, requests
from tests.samples.provider_rules import check_request

ALL_PAIRS = [(a, b) for a in PROTOCOLS for b in PROTOCOLS]
MODEL = "claude-opus-4-8"
SPELLINGS = {
    "chat": chat.SPELLING,
    "messages": messages_history.SPELLING,
    "responses": responses.SPELLING,
}


def rendered(client: Protocol, over: Protocol, body: Json) -> Any:
    conversation = PROTOCOLS[client].parser.parse(body, {}).conversation
    return PROTOCOLS[over].provider.render(conversation, MODEL)


@settings(deadline=None, max_examples=60)
@given(STEPS, st.lists(NAMES, max_size=4, unique=True))
@pytest.mark.parametrize(("client", "over"), ALL_PAIRS)
def test_a_history_in_any_order_is_accepted(
    client: Protocol, over: Protocol, steps: list[Any], names: list[str]
) -> None:
    """Ids missing and repeated, results without calls, texts between: never a provider's 400."""
    body = requests(steps, names)[client]
    if client == "messages" and body["messages"][-1]["role"] == "assistant":
        # Other protocols cannot continue an answer; that is refused by name.
        body["messages"].append({"role": "user", "content": "Go on."})
    request = rendered(client, over, body)
    check_request(over, request.body, own_names=client == over)
    spoken = str(request.body)
    for step in steps:
        if step[0] != "call":
            assert step[-1] in spoken, "no text is lost"


@settings(deadline=None, max_examples=30)
@given(STEPS)
@pytest.mark.parametrize(("client", "over"), ALL_PAIRS)
def test_a_history_is_fitted_once(client: Protocol, over: Protocol, steps: list[Any]) -> None:
    """What was fitted for a provider is in order: sent by its own client it does not change."""
    body = requests([*steps, ("user", "And?")], ())[client]
    request = rendered(client, over, body).body
    again = rendered(over, over, request).body
    said = {"chat": "messages", "responses": "input", "messages": "messages"}[over]
    assert again[said] == request[said]


@settings(deadline=None, max_examples=30)
@given(STEPS, STEPS)
@pytest.mark.parametrize(("client", "over"), ALL_PAIRS)
def test_a_longer_history_begins_like_the_shorter_one(
    client: Protocol, over: Protocol, steps: list[Any], more: list[Any]
) -> None:
    """A provider's cache of the prompt stays valid from one turn to the next."""
    done = [*steps, ("user", "And?")]
    said = {"chat": "messages", "responses": "input", "messages": "messages"}[over]
    later = [*(step for step in more if step[0] != "result"), ("user", "And then?")]
    first = rendered(client, over, requests(done, ())[client]).body[said]
    second = rendered(client, over, requests([*done, ("assistant", "Yes."), *later], ())[client])
    assert second.body[said][: len(first)] == first


@settings(deadline=None, max_examples=60)
@given(ORDERED_STEPS)
@pytest.mark.parametrize(("client", "over"), ALL_PAIRS)
def test_a_history_found_in_order_is_left_by_the_pairing(
    client: Protocol, over: Protocol, steps: list[Any]
) -> None:
    """The quick look before the pairing never passes what that would change."""
    body = requests([*steps, ("user", "And?")], ())[client]
    messages = PROTOCOLS[client].parser.parse(body, {}).conversation.messages
    if not is_in_order(messages, SPELLINGS[over]):
        return
    with mock.patch.object(pairing, "is_in_order", return_value=False):
        again = pairing.paired(messages, SPELLINGS[over], [])
    assert len(again) == len(messages)
    assert all(a is b for a, b in zip(again, messages, strict=True))
