"""Parses the requests of the toy protocol's clients."""

from collections.abc import Mapping

from polyvox.protocols.client_side import Ask
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError
from tests.protocols.toy.elements import parse_message, parse_options


def parse(body: Json, headers: Mapping[str, str]) -> Ask:
    if not isinstance(body, dict) or not isinstance(body.get("turns"), list):
        raise ModelError("invalid_request", "A request has turns.", param="turns")
    messages = tuple(map(parse_message, body["turns"]))
    conversation = Conversation(messages, options=parse_options(body))
    return Ask("toy", str(body.get("model")), conversation, bool(body.get("stream")))
