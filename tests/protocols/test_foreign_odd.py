"""Requests in another protocol's spelling may be ill-typed anywhere: they are refused, no more."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from tests.protocols.test_foreign_parts import FILES, IMAGES, TEXTS
from tests.protocols.test_foreign_shapes import CHOICES, CURSOR, FREE, TOOLS

ODD: tuple[Json, ...] = (None, True, 7, "x", [], [[]], {}, {"type": []})
PIECES = [*(image for image, _ in IMAGES.values()), *TEXTS.values(), *FILES.values()]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BLOCKS = [
    {"role": "user", "content": PIECES},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "c", "content": PIECES[:2]}],
    },
]
CHAT = [
    {"role": "user", "content": PIECES},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": PIECES[:2]},
]
OFFERED = [*TOOLS.values(), *FREE.values()]
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "input to chat": ("chat", CURSOR),
    "blocks in chat": ("chat", {"system": PIECES[:1], "messages": BLOCKS, "tools": OFFERED}),
    "messages to responses": (
        "responses",
        {"messages": CHAT, "tools": OFFERED, "response_format": {"type": "json_schema"}},
    ),
    "parts in responses": ("responses", {"input": CHAT[:1], "tools": OFFERED, "max_tokens": 9}),
    "parts in messages": (
        "messages",
        {"messages": BLOCKS, "tools": OFFERED, "max_completion_tokens": 9},
    ),
    **{
        f"{name} choice to {p}": (p, {"input": "x", "messages": CHAT[:1], "tool_choice": choice})
        for p in PROTOCOLS
        for name, choice in CHOICES.items()
    },
}


def changed(json: Json) -> Iterator[Json]:
    """Yield the document with each of its places replaced by each odd value."""
    yield from ODD
    entries: Any = json.items() if isinstance(json, dict) else ()
    if isinstance(json, list):
        entries = enumerate(json)
    for key, value in entries:
        for other in changed(value):
            copy = json.copy()
            copy[key] = other
            yield copy


@pytest.mark.parametrize("name", REQUESTS)
def test_an_ill_typed_place_is_refused_or_understood(name: str) -> None:
    """Nothing but a ModelError is raised, in any place."""
    protocol, request = REQUESTS[name]
    for key in request:
        for value in changed(request[key]):
            body = {"model": "m", "max_tokens": 9, **request, key: value}
            with suppress(ModelError):
                ask = PROTOCOLS[protocol].parser.parse(body, {})
                for record in PROTOCOLS.values():
                    record.provider.render(ask.conversation, "m")
