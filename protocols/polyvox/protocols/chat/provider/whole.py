"""Reads a whole Chat Completions message as the one delta of a stream."""

from typing import Final

from polyvox.workflows.conversation import Json

_FIRST: Final = ("role", "reasoning_content", "reasoning", "reasoning_details")
"""The members that come before the text in a stream; a whole message often has them behind it."""


def delta_of(message: dict[str, Json]) -> dict[str, Json]:
    """Return the delta that holds all of ``message``: thoughts first, calls numbered."""
    delta = {name: message[name] for name in _FIRST if name in message} | message
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        delta["tool_calls"] = [{**call, "index": index} for index, call in enumerate(calls)]
    return delta
