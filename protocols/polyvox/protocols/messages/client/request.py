"""Parses the requests of Messages clients."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from polyvox.protocols.client_side import Ask
from polyvox.protocols.messages.blocks import invalid
from polyvox.protocols.messages.client.spellings import in_messages
from polyvox.protocols.messages.elements import (
    parse_message,
    parse_options,
    parse_system,
    parse_tool,
)
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError

FORWARDED_HEADERS = ("anthropic-beta", "anthropic-version")
"""Request headers that change what the body means to a provider of this protocol."""

_ELSEWHERE = frozenset({"model", "messages", "tools", "stream", "system"})
"""Fields of the document that are not options."""

_T = TypeVar("_T")


def parse(body: Json, headers: Mapping[str, str]) -> Ask:
    """Parse a request; see ``RequestParser.parse``."""
    if not isinstance(body, dict):
        raise ModelError("invalid_request", "The body must be a JSON object.")
    body = in_messages(body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model", "must be the name of a model.")
    if body.get("max_tokens") is None:
        raise invalid("max_tokens", "Field required.")
    elements = body.get("messages")
    if not isinstance(elements, list) or not elements:
        raise invalid("messages", "must be an array of at least one message.")
    tools = body.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise invalid("tools", "must be an array.")
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise invalid("stream", "must be a boolean.")
    system = body.get("system")
    conversation = Conversation(
        messages=_each(parse_message, elements, "messages"),
        system=None if system is None else parse_system(system),
        tools=_each(parse_tool, tools or [], "tools"),
        options=parse_options({k: v for k, v in body.items() if k not in _ELSEWHERE}),
        headers=tuple((name, headers[name]) for name in FORWARDED_HEADERS if name in headers),
    )
    return Ask("messages", model, conversation, bool(stream))


def _each(parse_one: Callable[[Json], _T], elements: list[Json], field: str) -> tuple[_T, ...]:
    parsed: list[_T] = []
    for i, element in enumerate(elements):
        try:
            parsed.append(parse_one(element))
        except ModelError as error:
            at = f"{field}.{i}.{error.param}" if error.param else f"{field}.{i}"
            raise invalid(at, error.message.removeprefix(f"{error.param}: ")) from None
    return tuple(parsed)
