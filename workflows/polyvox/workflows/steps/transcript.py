"""The hidden part of a conversation: found again when the client echoes the part it saw.

A client that was answered with the help of mounted tools knows only the text and its own calls. The
next request therefore lacks the mounted calls and their results, and without them the provider's
prompt cache misses, signed thinking loses its place and the model forgets what it asked. So the
hidden messages are remembered under a key of what the client *does* have, and put back.

The key chains over the whole conversation before the reply, by what survives an echo: roles, texts
without outer white space, ids and names of calls, digests of media. What clients change between
requests (cache markers, reasoning, system reminders in roles of their own) does not count.
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
    """Assistant messages ``start`` to ``stop``; the ``key`` also tells what led to them."""

    start: int
    stop: int
    key: str


def assistant_turns(messages: Sequence[Message], owner: str) -> list[Turn]:
    """Return the assistant's turns of a client's conversation, each with its key.

    ``owner`` separates those who must not share memories: a key's id and a model's name.
    """
    chain = _digest(owner)
    turns: list[Turn] = []
    for start, stop, said in _turns(messages):
        chain = _digest(chain, _spoken(part for m in messages[start:stop] for part in m.parts))
        if said:
            turns.append(Turn(start, stop, chain))
    return turns


def reply_key(messages: Sequence[Message], visible: Iterable[Part], owner: str) -> str:
    """Return the key the visible parts of a reply to ``messages`` will have in their echo."""
    echoed = (*messages, Message("assistant", tuple(visible)))
    return assistant_turns(echoed, owner)[-1].key


def user_turn_key(messages: Sequence[Message], owner: str) -> str:
    """Return the key of the user's turn that is being answered.

    It is the same for every request of that turn: the results of tools do not begin a new one.
    """
    chain = key = _digest(owner)
    for start, stop, said in _turns(messages):
        chain = _digest(chain, _spoken(part for m in messages[start:stop] for part in m.parts))
        if not said and _opens(messages[start]):
            key = chain
    return key


def opening_key(conversation: Conversation, owner: str) -> str:
    """Return the key of all conversations that begin with this instruction and first word."""
    first = next((m for m in conversation.messages if m.role == "user"), None)
    system = conversation.system.text if conversation.system else ""
    return _digest(owner, system, _spoken(first.parts) if first else "")


def restore(
    conversation: Conversation,
    client: Sequence[Message],
    turns: Sequence[Turn],
    hidden: Mapping[str, tuple[Message, ...]],
) -> Conversation:
    """Return ``conversation`` with each remembered turn in place of what the client echoed.

    ``turns`` are those of the ``client``'s messages, which ``conversation`` may have derived from;
    they are recognised by identity.
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
    """Yield (start, stop, whether the assistant's), leaving out system messages of all sorts."""
    start = 0
    while start < len(messages):
        said = messages[start].role == "assistant"
        stop = start + 1
        while said and stop < len(messages) and messages[stop].role == "assistant":
            stop += 1
        if messages[start].role not in ("system", "developer"):
            yield start, stop, said
        start = stop


def _opens(message: Message) -> bool:
    return message.role == "user" and not any(isinstance(p, ToolResult) for p in message.parts)


def _spoken(parts: Iterable[Part]) -> str:
    texts: list[str] = []
    others: list[str] = []
    for part in parts:
        match part:
            case Text(text):
                texts.append(text)
            case ToolCall(id=call_id, name=name):
                others.append(f"call {_ID.sub('', call_id)} {name}")
            case ToolResult(call_id=call_id, parts=results):
                others.append(f"result {_ID.sub('', call_id)} {_spoken(results)}")
            case Image(source=source) | File(source=source):
                others.append(_digest(source.data or "", source.url or "", source.file_id or ""))
            case Audio(data=data):
                others.append(_digest(data))
    return "\n".join(["".join(texts).strip(), *others])


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()
