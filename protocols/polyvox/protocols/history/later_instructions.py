"""Instructions after the beginning of a conversation, for servers that take them only there."""

from typing import Final

LATER_INSTRUCTIONS: Final = "role: later instructions sent as user text in <system> tags"
"""The loss, as clients read it."""


def in_system_tags(text: str) -> str:
    """Return the user text that stands for an instruction, at its place."""
    return f"<system>\n{text}\n</system>"
