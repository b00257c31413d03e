"""What a Responses request says about responses that are kept."""

from typing import Any

import pytest

from polyvox.protocols.responses import elements as wire
from polyvox.protocols.responses.client import request as responses
from polyvox.protocols.responses.provider import request as provider
from polyvox.protocols.responses.storing import StoreOptions, continued, parse_store_options
from polyvox.workflows.errors import ModelError

BODY: dict[str, Any] = {"model": "m", "input": "x"}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({}, StoreOptions()),
        ({"store": None, "background": None, "conversation": None}, StoreOptions()),
        ({"store": False}, StoreOptions(store=False)),
        ({"background": True}, StoreOptions(background=True)),
        ({"previous_response_id": "resp_1"}, StoreOptions(previous="resp_1")),
        ({"conversation": "conv_1"}, StoreOptions(thread="conv_1")),
        ({"conversation": {"id": "conv_1"}}, StoreOptions(thread="conv_1")),
    ],
)
def test_a_response_is_kept_unless_the_client_says_otherwise(
    said: dict[str, Any], meant: StoreOptions
) -> None:
    """Null is as good as absent; a conversation is named by its id or by an object with it."""
    assert parse_store_options({**BODY, **said}) == meant


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"store": "yes"}, "store"),
        ({"background": 1}, "background"),
        ({"background": True, "store": False}, "store"),
        ({"previous_response_id": 7}, "previous_response_id"),
        ({"previous_response_id": ""}, "previous_response_id"),
        ({"conversation": {}}, "conversation"),
        ({"conversation": "conv_1", "previous_response_id": "resp_1"}, "previous_response_id"),
    ],
)
def test_what_cannot_be_meant_names_its_field(said: dict[str, Any], param: str) -> None:
    """The error is the client's, and says which field to change."""
    with pytest.raises(ModelError) as refused:
        parse_store_options({**BODY, **said})
    assert (refused.value.kind, refused.value.param) == ("invalid_request", param)


@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "prompt"])
def test_input_may_be_left_out_where_something_stands_for_it(field: str) -> None:
    """A request can go on from what is there without a word of its own."""
    ask = responses.parse({"model": "m", field: "some_id"}, {})
    assert ask.conversation.messages == ()


def test_a_provider_never_sees_our_ids() -> None:
    """It is sent the whole conversation; what it keeps itself is the client's to say."""
    said = {"previous_response_id": "resp_1", "conversation": "conv_1", "background": True}
    ask = responses.parse({**BODY, **said, "store": True}, {})
    body = provider.render(ask.conversation, "m").body
    assert not said.keys() & body.keys()
    assert body["store"] is True


def test_earlier_messages_bring_their_tools() -> None:
    """An agent that sends its tools as an item sends them once."""
    tool = {"type": "function", "name": "look"}
    item = {"type": "additional_tools", "role": "developer", "tools": [tool]}
    earlier = [wire.parse_message(item), wire.parse_message({"role": "user", "content": "hi"})]
    whole = continued(responses.parse(BODY, {}), earlier).conversation
    assert [message.text for message in whole.messages] == ["", "hi", "x"]
    assert [t.name for t in whole.tools] == ["look"]
