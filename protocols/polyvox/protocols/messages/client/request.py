"""Anthropic Messages towards clients: requests, whole answers and token estimates."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import orjson

from polyvox.protocols.client_side import Ask
from polyvox.protocols.messages.blocks import invalid, is_blank, render_answer_block
from polyvox.protocols.messages.client.errors import render_error
from polyvox.protocols.messages.client.stream import MessagesEncoder
from polyvox.protocols.messages.elements import (
    parse_message,
    parse_options,
    parse_system,
    parse_tool,
)
from polyvox.protocols.messages.finish import ending
from polyvox.protocols.tool_aliases import restored
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply

__all__ = ["encoder", "estimate_tokens", "parse", "render", "render_error"]

_FORWARDED = ("anthropic-beta", "anthropic-version")
"""Request headers that say how the body is to be read."""

_ELSEWHERE = frozenset({"model", "messages", "tools", "stream", "system"})
"""Fields of the document that are no options."""

_CHARACTERS_PER_TOKEN = 4
_MESSAGE_TOKENS = 4
_MEDIA_TOKENS = 1_600
"""What an image of the usual largest size takes (width * height / 750)."""

_T = TypeVar("_T")


def parse(body: Json, headers: Mapping[str, str]) -> Ask:
    """Parse a request; see ``RequestParser.parse``."""
    if not isinstance(body, dict):
        raise ModelError("invalid_request", "The body must be a JSON object.")
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
        headers=tuple((name, headers[name]) for name in _FORWARDED if name in headers),
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


def encoder(ask: Ask, *, run_id: str, created: int) -> MessagesEncoder:
    """Return a new Encoder. This protocol tells no time, so ``created`` is not used."""
    return MessagesEncoder(ask, run_id=run_id)


def render(ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
    """Render the whole answer; see ``ResponseEncoder.render``."""
    reply = restored(reply, ask)
    end = ending(reply)
    blocks = (render_answer_block(part) for part in reply.parts if not is_blank(part))
    return {
        "id": f"msg_{run_id}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [block for block in blocks if block is not None],
        **end.stop,
        **end.beside,
        "usage": end.usage,
    }


def estimate_tokens(body: Json) -> int:
    """Return an estimate of the input tokens of a request body; nobody is asked.

    It counts a token for every four characters of text (messages, system, tools with their
    schemas), and constants for each message and for each image or document, whatever its size.
    Real counts differ by model; expect it within a third for English prose and code.
    """
    messages = body.get("messages") or ()
    characters = len(orjson.dumps(body.get("tools") or []))
    media = 0
    pending: list[Json] = [body.get("system"), *(message.get("content") for message in messages)]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            source = value.get("source")
            if isinstance(source, dict) and source.get("type") in ("base64", "url", "file"):
                media += 1
            else:
                pending += [v for k, v in value.items() if k not in _NO_TEXT]
    return (
        characters // _CHARACTERS_PER_TOKEN
        + len(messages) * _MESSAGE_TOKENS
        + media * _MEDIA_TOKENS
    )


_NO_TEXT = frozenset({"type", "cache_control", "signature"})
