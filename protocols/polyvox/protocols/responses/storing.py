"""Reads a request's fields about stored responses, and adds the history that it continues."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses import elements as wire
from polyvox.workflows.conversation import Json, Message, Tool
from polyvox.workflows.errors import ModelError


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """``previous`` is the id of the response to continue, ``thread`` that of a conversation."""

    store: bool = True
    background: bool = False
    previous: str | None = None
    thread: str | None = None


def parse_store_options(body: dict[str, Json]) -> StoreOptions:
    """Read the fields about stored responses.

    Raises ModelError("invalid_request") if they are ill-typed or exclude each other.
    """
    previous = _text(body, "previous_response_id", body.get("previous_response_id"))
    named = body.get("conversation")
    if isinstance(named, dict):
        named = named.get("id")
    thread = _text(body, "conversation", named)
    if previous is not None and thread is not None:
        raise ModelError(
            "invalid_request",
            "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Give one.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
    storing = StoreOptions(
        _flag(body, "store", True), _flag(body, "background", False), previous, thread
    )
    if storing.background and not storing.store:
        raise ModelError(
            "invalid_request",
            "A background response must be kept: leave 'store' out or set it to true.",
            param="store",
        )
    return storing


def _flag(body: dict[str, Json], field: str, default: bool) -> bool:
    value = body.get(field)
    if value is None or isinstance(value, bool):
        return default if value is None else value
    raise ModelError("invalid_request", f"{field!r} must be true or false.", param=field)


def _text(body: dict[str, Json], field: str, value: Json) -> str | None:
    if body.get(field) is None:
        return None
    if isinstance(value, str) and value:
        return value
    raise ModelError("invalid_request", f"{field!r} must be an id.", param=field)


def continued(ask: Ask, earlier: Iterable[Message]) -> Ask:
    """Return ``ask`` with ``earlier`` messages before its own, and with the tools in them."""
    messages = tuple(earlier)
    if not messages:
        return ask
    conversation = ask.conversation
    whole = replace(
        conversation,
        messages=messages + conversation.messages,
        tools=conversation.tools + tuple(_brought(messages)),
    )
    return replace(ask, conversation=whole)


def _brought(messages: Iterable[Message]) -> Iterable[Tool]:
    for message in messages:
        item = message.on_wire("responses")
        if item is not None and item.get("type") == "additional_tools":
            yield from wire.parse_tools(item.get("tools") or ())


def not_found(response_id: str) -> ModelError:
    """Return the error for a ``previous_response_id`` that does not belong to this key."""
    return ModelError(
        "invalid_request",
        f"Previous response with id {response_id!r} not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
