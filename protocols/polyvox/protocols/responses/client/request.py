"""Parses the requests of Responses clients."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses import elements as wire
from polyvox.protocols.responses.client.spellings import in_responses
from polyvox.protocols.responses.include import check_include
from polyvox.workflows.conversation import Conversation, Json, Message
from polyvox.workflows.errors import ModelError

FORWARDED_HEADERS = ("openai-beta", "x-openai-internal-codex-responses-lite")
"""Request headers that change what the body means to a provider of this protocol."""

_APART = frozenset(("model", "input", "tools", "stream", "instructions"))

_INSTEAD_OF_INPUT = ("previous_response_id", "conversation", "prompt")
"""Fields with which a request does not need ``input``."""

_Value = TypeVar("_Value")


def parse(body: Json, headers: Mapping[str, str]) -> Ask:
    """Parse a request for ``POST /v1/responses``."""
    if not isinstance(body, dict):
        raise ModelError("invalid_request", "The request body must be a JSON object.")
    body = in_responses(body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise ModelError(
            "invalid_request",
            "'model' is missing; it must be the name of a model.",
            param="model",
            code="missing_required_parameter",
        )
    optional = any(body.get(field) is not None for field in _INSTEAD_OF_INPUT)
    messages = _parse_input(body.get("input"), optional=optional)
    check_include(body)
    instructions = body.get("instructions")
    offered = _listed(body, "tools")
    tools = [
        t for i, tool in enumerate(offered) for t in _at(f"tools[{i}]", wire.parse_tools, [tool])
    ]
    for index, message in enumerate(messages):
        given = message.on_wire("responses")
        if given is not None and given.get("type") == "additional_tools":
            brought = given.get("tools") or ()
            tools += _at(f"input[{index}].tools", wire.parse_tools, brought)
    conversation = Conversation(
        messages=messages,
        system=None
        if instructions is None
        else _at("instructions", wire.parse_system, instructions),
        tools=tuple(tools),
        options=wire.parse_options({k: v for k, v in body.items() if k not in _APART}),
        headers=tuple((name, headers[name]) for name in FORWARDED_HEADERS if name in headers),
    )
    return Ask("responses", model, conversation, _streamed(body))


def _parse_input(given: Json, *, optional: bool) -> tuple[Message, ...]:
    if isinstance(given, str):
        # A string is short for one user message; in this form it can be an element of a list.
        return (wire.parse_message({"role": "user", "content": given}),)
    if given is None and optional:
        return ()
    if not isinstance(given, list):
        raise ModelError(
            "invalid_request",
            "'input' must be a string or a list of items.",
            param="input",
            code="missing_required_parameter" if given is None else "invalid_type",
        )
    return tuple(_at(f"input[{i}]", wire.parse_message, item) for i, item in enumerate(given))


def _listed(body: dict[str, Json], field: str) -> list[Json]:
    value = body.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ModelError("invalid_request", f"{field!r} must be a list.", param=field)
    return value


def _streamed(body: dict[str, Json]) -> bool:
    stream = body.get("stream")
    if stream is None or isinstance(stream, bool):
        return bool(stream)
    raise ModelError("invalid_request", "'stream' must be true or false.", param="stream")


def _at(place: str, parse: Callable[[Json], _Value], json: Json) -> _Value:
    """Parse ``json``; an error gets its ``place`` in the request in its param."""
    try:
        return parse(json)
    except ModelError as error:
        error.param = f"{place}.{error.param}" if error.param else place
        raise
