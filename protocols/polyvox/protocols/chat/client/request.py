"""Parses the requests of Chat Completions clients."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from polyvox.protocols.chat import elements as wire
from polyvox.protocols.chat.client import legacy_functions as chat_functions
from polyvox.protocols.chat.client.spellings import in_chat
from polyvox.protocols.chat.options import ill_typed
from polyvox.protocols.client_side import Ask
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError

_T = TypeVar("_T")

FORWARDED_HEADERS: Final = ("openai-beta",)
"""Request headers that change what the body means to a provider of this protocol."""

MOST_CHOICES: Final = 16
"""The most answers to one request; each is a run."""

_NOT_OPTIONS: Final = frozenset({"model", "messages", "tools", "stream"})


def parse(body: Json, headers: Mapping[str, str]) -> Ask:
    """Parse a request; see ``RequestParser.parse``."""
    if not isinstance(body, dict):
        raise ill_typed("", "an object", body)
    body = in_chat(body)
    in_functions = chat_functions.is_spoken(body)
    if in_functions:
        body = chat_functions.in_tools(body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise (
            _missing("model", "a model name")
            if model is None
            else ill_typed("model", "a model name", model)
        )
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise (
            _missing("messages", "a non-empty array")
            if messages is None
            else ill_typed("messages", "a non-empty array", messages)
        )
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise ill_typed("stream", "a boolean", stream)
    tools = body.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise ill_typed("tools", "an array", tools)
    number = body.get("n")
    if number is not None and not (type(number) is int and 1 <= number <= MOST_CHOICES):
        raise ill_typed("n", f"a whole number from 1 to {MOST_CHOICES}", number)
    options = {name: value for name, value in body.items() if name not in _NOT_OPTIONS}
    conversation = Conversation(
        messages=_each(messages, "messages", wire.parse_message),
        tools=_each(tools or [], "tools", wire.parse_tool),
        options=wire.parse_options(options),
        headers=tuple((name, headers[name]) for name in FORWARDED_HEADERS if name in headers),
    )
    return Ask("chat", model, conversation, bool(stream), in_functions)


def _missing(param: str, expected: str) -> ModelError:
    return ModelError(
        "invalid_request",
        f"Missing required parameter {param!r}: it must be {expected}.",
        param=param,
        code="missing_required_parameter",
    )


def _each(elements: list[Json], name: str, parse_one: Callable[[Json], _T]) -> tuple[_T, ...]:
    parsed = []
    for at, element in enumerate(elements):
        try:
            parsed.append(parse_one(element))
        except ModelError as error:
            error.param = f"{name}[{at}].{error.param}" if error.param else f"{name}[{at}]"
            raise
    return tuple(parsed)


def choices_wanted(ask: Ask) -> int:
    """Return how many answers a request wants."""
    options = ask.conversation.options.on_wire("chat") or {}
    return int(options.get("n") or 1)
