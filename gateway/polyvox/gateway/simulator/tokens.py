"""Count tokens by a simple rule that can be checked by hand.

A token is a run of at most 12 word characters or one other visible character; the white space
before it belongs to it. A text of more than 8192 characters counts one token per four characters,
so that long prompts are counted quickly. An image counts 258 tokens whatever its size.
"""

import re

import orjson

from polyvox.workflows.conversation import (
    Audio,
    Conversation,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

IMAGE_TOKENS = 258
LONG_TEXT = 8192

_TOKEN = re.compile(r"\s*(?:\w{1,12}|[^\w\s])")


def split(text: str) -> list[str]:
    """Return the tokens of ``text``; joined they are the text again."""
    visible = text.rstrip()
    tokens = _TOKEN.findall(visible)
    if not tokens:
        return [text] if text else []
    tokens[-1] += text[len(visible) :]
    return tokens


def count(text: str) -> int:
    """Return how many tokens ``text`` has; long texts are estimated, see the module docstring."""
    if len(text) > LONG_TEXT:
        return len(text) // 4
    return len(_TOKEN.findall(text.rstrip()))


def first(text: str, limit: int) -> str:
    """Return the first ``limit`` tokens of ``text``."""
    tokens = split(text)
    return text if len(tokens) <= limit else "".join(tokens[:limit])


def of_part(part: Part) -> int:
    match part:
        case Text(text) | Refusal(text) | Reasoning(text):
            return count(text)
        case ToolCall():
            return count(part.name) + count(part.arguments)
        case ToolResult():
            return sum(map(of_part, part.parts))
        case Image() | File() | Audio():
            return IMAGE_TOKENS
        case _:
            return 0


def of_conversation(conversation: Conversation) -> int:
    """Return the input tokens of a request: instruction, messages and tools."""
    messages: list[Message] = [*conversation.messages]
    if conversation.system:
        messages.append(conversation.system)
    size = sum(of_part(part) for message in messages for part in message.parts)
    return size + sum(map(of_tool, conversation.tools))


def of_tool(tool: Tool) -> int:
    schema = orjson.dumps(tool.parameters).decode() if tool.parameters else ""
    return count(tool.name) + count(tool.description or "") + count(schema)
