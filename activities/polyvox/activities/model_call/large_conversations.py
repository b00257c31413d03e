"""Keeps work on large conversations off the event loop, where it would delay other streams."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from polyvox.workflows.conversation import Conversation

_MANY_ELEMENTS = 2_000
"""From this number on, rendering (5 us for each) would be noticed."""

T = TypeVar("T")


async def without_delay(conversation: Conversation, work: Callable[[], T]) -> T:
    """Return ``work()``, which reads ``conversation``; in a thread if that takes long."""
    if _elements(conversation) < _MANY_ELEMENTS:
        return work()
    return await asyncio.to_thread(work)


def _elements(conversation: Conversation) -> int:
    """Return the number of parts, tools and options, known or not."""
    wire = conversation.options.wire
    options = len(wire.json) if wire is not None and isinstance(wire.json, dict) else 0
    parts = sum(len(message.parts) for message in conversation.messages)
    return parts + len(conversation.tools) + options
