"""The hidden part of a conversation, found by the visible part that the client sends back.

If an answer used mounted tools, the client has only the text and the calls of its own tools. Its
next request lacks the mounted calls and their results. Without them the provider's prompt cache
misses, signed thinking is in the wrong place and the model does not know what it asked. The hidden
messages are therefore stored under a key derived from the visible messages, and restored.

The key covers the whole conversation up to the reply. It is computed from what clients send back
unchanged: roles, texts without surrounding white space, ids and names of calls, digests of media.
What clients change between requests (cache markers, reasoning, system reminders in separate roles)
is ignored.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from polyvox.workflows.conversation import (
    Audio,
    Conversation,
    File,
    Image,
    Message,
    Part,
    Text,
    ToolCall,
    ToolResult,
)

_ID = re.compile(r"[^a-zA-Z0-9]")


@dataclass(frozen=True, slots=True)
class Turn:
    """Assistant messages ``start`` to ``stop``; ``key`` also covers the messages before them."""

    start: int
    stop: int
    key: str


def assistant_turns(messages: Sequence[Message], owner: str) -> list[Turn]:
    """Return the assistant's turns of a client's conversation, each with its key.

    Keys of different ``owner`` (an API key's id and a model's name) are different.
    """
    chain = _digest(owner)
    turns: list[Turn] = []
    for start, stop, by_assistant in _turns(messages):
        chain = _digest(chain, _content(part for m in messages[start:stop] for part in m.parts))
        if by_assistant:
            turns.append(Turn(start, stop, chain))
    return turns


def reply_key(messages: Sequence[Message], visible: Iterable[Part], owner: str) -> str:
    """Return the key that the ``visible`` parts of a reply to ``messages`` have when sent back."""
    echoed = (*messages, Message("assistant", tuple(visible)))
    return assistant_turns(echoed, owner)[-1].key


def user_turn_key(messages: Sequence[Message], owner: str) -> str:
    """Return the key of the user's turn that is being answered.

    It is the same for every request of that turn: tool results do not begin a new turn.
    """
    chain = key = _digest(owner)
    for start, stop, by_assistant in _turns(messages):
        chain = _digest(chain, _content(part for m in messages[start:stop] for part in m.parts))
        if not by_assistant and _opens(messages[start]):
            key = chain
    return key


def opening_key(conversation: Conversation, owner: str) -> str:
    """Return the key shared by conversations with the same system instruction and first message."""
    first = next((m for m in conversation.messages if m.role == "user"), None)
    system = conversation.system.text if conversation.system else ""
    return _digest(owner, system, _content(first.parts) if first else "")


def restore(
    conversation: Conversation,
    client: Sequence[Message],
    turns: Sequence[Turn],
    hidden: Mapping[str, tuple[Message, ...]],
) -> Conversation:
    """Return ``conversation`` with each stored turn in place of its visible messages.

    ``turns`` are those of the ``client``'s messages. ``conversation`` may be derived from these;
    messages are compared by identity.
    """
    first: dict[int, tuple[Message, ...]] = {}
    echoed: set[int] = set()
    for turn in turns:
        if turn.key in hidden:
            first[id(client[turn.start])] = hidden[turn.key]
            echoed.update(id(message) for message in client[turn.start : turn.stop])
    if not first:
        return conversation
    messages: list[Message] = []
    for message in conversation.messages:
        if id(message) in first:
            messages += first[id(message)]
        elif id(message) not in echoed:
            messages.append(message)
    return replace(conversation, messages=tuple(messages))


def _turns(messages: Sequence[Message]) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, stop, whether the assistant's) of each turn; system messages are left out."""
    start = 0
    while start < len(messages):
        by_assistant = messages[start].role == "assistant"
        stop = start + 1
        while by_assistant and stop < len(messages) and messages[stop].role == "assistant":
            stop += 1
        if messages[start].role not in ("system", "developer"):
            yield start, stop, by_assistant
        start = stop


def _opens(message: Message) -> bool:
    return message.role == "user" and not any(isinstance(p, ToolResult) for p in message.parts)


def _content(parts: Iterable[Part]) -> str:
    texts: list[str] = []
    others: list[str] = []
    for part in parts:
        match part:
            case Text(text):
                texts.append(text)
            case ToolCall(id=call_id, name=name):
                others.append(f"call {_ID.sub('', call_id)} {name}")
            case ToolResult(call_id=call_id, parts=results):
                others.append(f"result {_ID.sub('', call_id)} {_content(results)}")
            case Image(source=source) | File(source=source):
                others.append(_digest(source.data or "", source.url or "", source.file_id or ""))
            case Audio(data=data):
                others.append(_digest(data))
    return "\n".join(["".join(texts).strip(), *others])


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()
