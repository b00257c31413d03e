"""Adds empty thoughts to a history that another model wrote, for servers that require thoughts."""

from typing import Final

from polyvox.protocols.dialects.dialect import Thoughts
from polyvox.workflows.conversation import Json

PLACEHOLDER: Final[Json] = {"type": "thinking", "thinking": " ", "signature": ""}
"""Thoughts without content; see the placeholder of Chat Completions.

DeepSeek's and Kimi's Messages endpoints refuse a turn with tool calls but without thoughts
(https://github.com/QwenLM/qwen-code/pull/3788 and
https://github.com/YishenTu/claudian/issues/759; read 2026-11-28).
"""

_THOUGHTS: Final = ("thinking", "redacted_thinking")


def fit_thoughts(body: dict[str, Json], wanted: Thoughts) -> None:
    """Put thoughts before each turn of the assistant that must have some and has none."""
    off = (body.get("thinking") or {}).get("type") == "disabled"
    if off or wanted not in ("with_calls", "always"):
        return
    body["messages"] = [
        {**message, "content": [PLACEHOLDER, *_blocks(message)]}
        if message.get("role") == "assistant" and _lacks_thoughts(_blocks(message), wanted)
        else message
        for message in body["messages"]
    ]


def _blocks(message: Json) -> list[Json]:
    content = message.get("content")
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _lacks_thoughts(blocks: list[Json], wanted: Thoughts) -> bool:
    kinds = {block.get("type") for block in blocks if isinstance(block, dict)}
    return not kinds.intersection(_THOUGHTS) and (wanted == "always" or "tool_use" in kinds)
