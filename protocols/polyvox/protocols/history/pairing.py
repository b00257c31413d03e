"""Pairs the calls of a history with their results, as every provider requires it.

Providers refuse a request with a call that has no result or two, with a result that has no call,
with two calls of one id, and (Chat, Messages) with anything between a reply and its results.
Clients send all of these: after they cut or compacted a history, with notices that arrive while a
tool runs, and with ids of servers that number the calls of each answer from 0. A history that is
already in order is returned unchanged.

Sources: OpenAI's "An assistant message with 'tool_calls' must be followed by tool messages
responding to each 'tool_call_id'" and "No tool output found for function call", Anthropic's
"`tool_use` ids were found without `tool_result` blocks immediately after" and "`tool_use` ids must
be unique" (error messages of their APIs, November 2026).
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from polyvox.protocols.coverage.losses import lose
from polyvox.protocols.history.elements import (
    as_words,
    renumbered_call,
    renumbered_result,
    with_parts,
)
from polyvox.protocols.history.order import is_in_order
from polyvox.protocols.history.spelling import Spelling
from polyvox.workflows.conversation import (
    Json,
    Message,
    Opaque,
    Part,
    Text,
    ToolCall,
    ToolResult,
    user,
)

NO_RESULT: Final = "The result of this call is not known."
"""The text of the result that a call without one gets."""

CONTINUE: Final = "Continue."
"""The last user turn of a conversation whose last results belong to an earlier reply."""

CONTINUED: Final = "messages: a user turn was put last, because its results were moved"
UNANSWERED: Final = "messages: a tool call without a result got an empty one"
UNCALLED: Final = "messages: a tool result without its call is sent as user text"
MISPLACED: Final = "messages: a tool call outside an assistant message is sent as user text"
MOVED: Final = "messages: tool results were moved to the reply that called for them"

_LONGEST_END: Final = 9
"""Characters of a number that makes an id unique."""

_Place = tuple[int, int]
"""The index of a message, and that of a part in it."""


@dataclass(slots=True)
class _Call:
    """A call, the reply it is in, and its result."""

    place: _Place
    part: ToolCall
    reply: int
    result: _Place | None = None


@dataclass(slots=True)
class _Reply:
    """Messages of the assistant up to ``stop``; ``uncalled`` are results that fit no call."""

    stop: int
    calls: list[_Call] = field(default_factory=list)
    uncalled: list[_Place] = field(default_factory=list)


def paired(
    messages: Sequence[Message], spelling: Spelling, losses: list[str]
) -> tuple[Message, ...]:
    """Return ``messages`` with one result right after its reply for each call, and unique ids.

    A result without its call becomes user text, a call without a result gets one that says so.
    """
    if is_in_order(messages, spelling):
        return tuple(messages)
    replies = _replies(messages, spelling)
    _pair(messages, replies)
    changed = _renumbered(messages, replies, spelling)
    answers = {reply.stop: reply for reply in replies if reply.calls}
    moved = {call.result for reply in replies for call in reply.calls if call.result is not None}
    others = _OtherCalls(messages, spelling)
    segments = _Segments()
    for at, message in enumerate(messages):
        is_reply = message.role == "assistant"
        for index, part in enumerate(message.parts):
            place = (at, index)
            if place in moved:
                continue
            if isinstance(part, ToolResult) and not others.may_have(part.call_id):
                lose(losses, UNCALLED)
                segments.add(at, as_words(part))
            elif isinstance(part, ToolCall) and not is_reply:
                lose(losses, MISPLACED)
                segments.add(at, as_words(part))
            else:
                segments.add(at, (changed.get(place, part),))
        if not message.parts:
            segments.add_empty(at)
        if (reply := answers.get(at + 1)) is not None:
            _answer(reply, messages, changed, segments, losses)
    found = tuple(segments.messages(messages, spelling, losses))
    if found and found[-1].role == "assistant" != messages[-1].role:
        # Its last results were moved: without a user turn the model would continue its own text.
        lose(losses, CONTINUED)
        return (*found, user(CONTINUE))
    return found


def _replies(messages: Sequence[Message], spelling: Spelling) -> list[_Reply]:
    """Return the assistant's replies; in Chat each message of a client is one."""
    replies: list[_Reply] = []
    for at, message in enumerate(messages):
        if message.role != "assistant":
            continue
        follows = bool(replies) and replies[-1].stop == at
        if follows and spelling.answers_each:
            both = (messages[at - 1], message)
            follows = all(m.on_wire(spelling.protocol) is None for m in both)
        if follows:
            replies[-1].stop = at + 1
        else:
            replies.append(_Reply(at + 1))
        replies[-1].calls += [
            _Call((at, index), part, len(replies) - 1)
            for index, part in enumerate(message.parts)
            if isinstance(part, ToolCall)
        ]
    return replies


def _pair(messages: Sequence[Message], replies: list[_Reply]) -> None:
    """Find the result of each call: that of the newest reply before it which still lacks it."""
    open_calls: dict[str, list[deque[_Call]]] = {}
    newest: _Reply | None = None
    upcoming = iter(replies)
    reply = next(upcoming, None)
    for at, message in enumerate(messages):
        for index, part in enumerate(message.parts):
            if not isinstance(part, ToolResult):
                continue
            waiting = open_calls.get(part.call_id)
            if waiting:
                waiting[-1].popleft().result = (at, index)
                if not waiting[-1]:
                    waiting.pop()
            elif newest is not None:
                newest.uncalled.append((at, index))
        if reply is not None and reply.stop == at + 1:
            newest = reply
            for call in reply.calls:
                waiting = open_calls.setdefault(call.part.id, [])
                if not waiting or waiting[-1][-1].reply != call.reply:
                    waiting.append(deque())
                waiting[-1].append(call)
            reply = next(upcoming, None)
    for answered in replies:
        _pair_by_order(messages, answered)


def _pair_by_order(messages: Sequence[Message], reply: _Reply) -> None:
    """Pair what has no id, in the order in which it stands."""
    waiting = deque(call for call in reply.calls if call.result is None)
    for at, index in reply.uncalled:
        part = messages[at].parts[index]
        has_id = isinstance(part, ToolResult) and part.call_id
        if waiting and not (has_id and waiting[0].part.id):
            waiting.popleft().result = (at, index)


def _renumbered(
    messages: Sequence[Message], replies: list[_Reply], spelling: Spelling
) -> dict[_Place, Part]:
    """Return the calls and results by place, with ids that the provider accepts."""
    changed: dict[_Place, Part] = {}
    ids = UniqueIds(spelling.longest_id)
    number = 0
    for reply in replies:
        for call in reply.calls:
            number += 1
            base = spelling.call_id(call.part.id) if call.part.id else f"call_{number}"
            call.part = renumbered_call(call.part, ids.take(base), spelling)
            changed[call.place] = call.part
            if call.result is not None:
                at, index = call.result
                result = messages[at].parts[index]
                if isinstance(result, ToolResult):
                    changed[call.result] = renumbered_result(result, call.part, spelling)
    return changed


class UniqueIds:
    """Gives each call its own id; the first with an id keeps it."""

    __slots__ = ("_longest", "_next", "_taken")

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, base: str) -> str:
        """Return ``base``, or if that is taken, ``base`` with a number."""
        found, stem = base, base[: self._longest - _LONGEST_END]
        while found in self._taken:
            number = self._next[stem] = self._next.get(stem, 1) + 1
            found = f"{stem}_{number}"
        self._taken.add(found)
        return found


class _OtherCalls:
    """Calls of kinds that only the protocol itself knows, or that only the provider has stored."""

    def __init__(self, messages: Sequence[Message], spelling: Spelling) -> None:
        self._any = False
        self._ids: set[Json] = set()
        for part in (p for m in messages for p in m.parts if isinstance(p, Opaque)):
            element = part.on_wire(spelling.protocol)
            if isinstance(element, dict):
                kind = element.get("type")
                self._any |= isinstance(kind, str) and kind in spelling.hiding
                calls = element.get("tool_calls")
                entries = [element, *(calls if isinstance(calls, list) else ())]
                objects = [entry for entry in entries if isinstance(entry, dict)]
                names = [entry.get(name) for entry in objects for name in ("id", "call_id")]
                self._ids.update(name for name in names if isinstance(name, str))

    def may_have(self, call_id: str) -> bool:
        """Whether a result with that id may belong to one of them."""
        return self._any or call_id in self._ids


class _Segments:
    """Parts in their new order, each with the index of the message it came from."""

    def __init__(self) -> None:
        self._found: list[tuple[int, list[Part]]] = []

    def add(self, at: int, parts: Iterable[Part]) -> None:
        if self._found and self._found[-1][0] == at:
            self._found[-1][1].extend(parts)
        elif added := [*parts]:
            self._found.append((at, added))

    def add_empty(self, at: int) -> None:
        self._found.append((at, []))

    def last(self) -> int:
        return self._found[-1][0]

    def messages(
        self, sources: Sequence[Message], spelling: Spelling, losses: list[str]
    ) -> Iterator[Message]:
        newest = -1
        for at, parts in self._found:
            if at == _STUB:
                yield Message("tool", tuple(parts))
                continue
            if at < newest:
                lose(losses, MOVED)
            newest = max(newest, at)
            yield with_parts(sources[at], parts, spelling)


_STUB: Final = -1
"""The place of a message that holds nothing but results made here."""


def _answer(
    reply: _Reply,
    messages: Sequence[Message],
    changed: dict[_Place, Part],
    segments: _Segments,
    losses: list[str],
) -> None:
    """Add the results of ``reply`` in the order in which the client sent them."""
    found = sorted(call.result for call in reply.calls if call.result is not None)
    for place in found:
        segments.add(place[0], (changed[place],))
    missing = [call.part for call in reply.calls if call.result is None]
    if missing:
        lose(losses, UNANSWERED)
        # In Messages all results of a reply are in one message.
        at = segments.last() if found else _STUB
        segments.add(at, [ToolResult(c.id, (Text(NO_RESULT),), kind=c.kind) for c in missing])
