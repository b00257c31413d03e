"""What differs between two JSON documents, and which differences are meant.

``TABLE`` is the whole list of what the same protocol in and out does not keep. A row covers a
difference at its ``where`` (a path, ``[]`` for any index, ``*`` for anything), for every exchange
of the protocol or for ``only`` those whose id contains that text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from polyvox.workflows.conversation import Json, Protocol

How = Literal["changed", "added", "left out"]
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Difference:
    where: str
    how: How
    was: str
    now: str


@dataclass(frozen=True, slots=True)
class Row:
    protocol: Protocol
    where: str
    how: frozenset[How]
    reason: str
    only: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.protocol, self.where, self.only)))

    def covers(self, protocol: Protocol, exchange: str, difference: Difference) -> bool:
        return (
            protocol == self.protocol
            and self.only in exchange
            and difference.how in self.how
            and fnmatchcase(difference.where, self.where.replace("[]", "[[]]"))
        )


def differences(was: Json, now: Json, where: str = "") -> Iterator[Difference]:
    """Yield where ``now`` is not ``was``; 1 and 1.0 are the same number."""
    if was is _ABSENT:
        yield Difference(where, "added", "", _brief(now))
    elif now is _ABSENT:
        yield Difference(where, "left out", _brief(was), "")
    elif isinstance(was, dict) and isinstance(now, dict):
        for name in was.keys() | now.keys():
            at = f"{where}.{name}" if where else name
            yield from differences(was.get(name, _ABSENT), now.get(name, _ABSENT), at)
    elif isinstance(was, list) and isinstance(now, list):
        for index in range(max(len(was), len(now))):
            before = was[index] if index < len(was) else _ABSENT
            after = now[index] if index < len(now) else _ABSENT
            yield from differences(before, after, f"{where}[]")
    elif was != now or isinstance(was, bool) != isinstance(now, bool):
        yield Difference(where, "changed", _brief(was), _brief(now))


def _brief(value: Json) -> str:
    return re.sub(r"\s+", " ", f"{value!r:.200}")


_ANY = frozenset[How](("changed", "added", "left out"))
_CHANGED = frozenset[How](("changed",))
_ADDED = frozenset[How](("added",))
_LEFT_OUT = frozenset[How](("left out",))

_OURS = "Ours to say: the answer is a run's, of the model name the client asked for."
_FILLED = "Absent where it is null or at its default; clients of today's API expect the member."
_ECHO = "Repeats the client's request, not the provider's: a flow may ask with other ones."
_STATE = "Responses are stored here, not at the provider."
_ORPHAN = "Its call is in the stored conversation, which is not part of the recording."
_SEALED = "The provider seals it anew in every event; that of output_item.done is kept."
_ABRIDGED = "The keeper of the recording left out events, which are told here."
_UNENDED = "The provider never ends two of its items; here each item is ended."
_RENAMED = "The provider names an item anew in every event; clients want one name."
_TWICE = "A second message_start, before any block, is not passed on."
_EMPTY = "A call without arguments is spelled {}, as other protocols need it."
_WHOLE = "The last usage is the whole run's, with all that was said of it before."
_PRECISE = "The provider rounds log probabilities anew in every event; the item's are kept."
_COMPLETE = "The recorded status is none that the protocol has."

_STREAMED = "The provider is always asked for a stream, and for the usage at its end."
_SHORT = "A bare string is short for a list of one user message."
_BLANK = "The API refuses blank text in a request."
_REFUSED = "What the stop details explain is said in the history."

TABLE: tuple[Row, ...] = (
    Row("chat", "request.stream", _CHANGED, _STREAMED),
    Row("chat", "request.stream_options", _ADDED, _STREAMED),
    Row("responses", "request.stream", _CHANGED | _ADDED, _STREAMED),
    Row("responses", "request.input", _CHANGED, _SHORT),
    Row("responses", "request.background", _LEFT_OUT, _STATE),
    Row("responses", "request.conversation", _LEFT_OUT, _STATE),
    Row("responses", "request.previous_response_id", _LEFT_OUT, _STATE),
    Row("responses", "request.input[].*", _ANY, _ORPHAN, "conversation_id_tool_call"),
    Row("messages", "request.stream", _CHANGED | _ADDED, _STREAMED),
    Row("chat", "document.id", _CHANGED, _OURS),
    Row("chat", "document.model", _CHANGED, _OURS),
    Row("chat", "document.created", _CHANGED, _OURS),
    Row("chat", "document.choices[].logprobs", _ADDED, _FILLED),
    Row("responses", "document.id", _CHANGED, _OURS),
    Row("responses", "document.model", _CHANGED, _OURS),
    Row("responses", "document.created_at", _CHANGED, _OURS),
    Row("responses", "document.completed_at", _CHANGED | _ADDED, _OURS),
    Row("responses", "document.tools*", _ANY, _ECHO),
    Row("responses", "document.tool_choice", _CHANGED, _ECHO, "openai-custom-tool"),
    Row("responses", "document.text.format.*", _ANY, _ECHO),
    Row("responses", "document.input", _LEFT_OUT, _ECHO),
    Row("responses", "document.store", _CHANGED, _STATE),
    Row("responses", "document.background", _CHANGED, _STATE),
    Row("responses", "document.conversation", _LEFT_OUT, _STATE),
    Row("responses", "document.status", _CHANGED, _COMPLETE),
    Row("responses", "document.[!ou]*", _ADDED, _FILLED),
    Row("responses", "document.user", _ADDED, _FILLED),
    Row("responses", "document.reasoning", _CHANGED, _FILLED),
    Row("responses", "*.logprobs", _ADDED, _FILLED),
    Row("responses", "events[].name", _ADDED, _FILLED),
    Row("responses", "document.usage.input_tokens_details.cache_write_tokens", _ADDED, _FILLED),
    Row("responses", "*[].encrypted_content", _CHANGED, _SEALED),
    Row("responses", "*[].fingerprint", _CHANGED, _SEALED),
    Row("responses", "events[]*.logprobs[]*", _ANY, _PRECISE, "logprobs_streaming"),
    Row("responses", "events*", _ANY, _ABRIDGED, "openai-custom-tool"),
    Row("responses", "events[].delta", _CHANGED, _ABRIDGED, "openai-phase"),
    Row("responses", "events[].output_index", _CHANGED, _ABRIDGED, "openai-phase"),
    Row("responses", "events[].item_id", _CHANGED, _RENAMED, "id-rotation"),
    Row("responses", "events[].item.id", _CHANGED, _RENAMED, "id-rotation"),
    Row("responses", "events*", _ANY, _UNENDED, "backfills_missing_results"),
    Row("messages", "document.id", _CHANGED, _OURS),
    Row("messages", "document.model", _CHANGED, _OURS),
    Row("messages", "events[].message.id", _CHANGED, _OURS),
    Row("messages", "events[].message.model", _CHANGED, _OURS),
    Row("messages", "*.usage.cache_*_input_tokens", _ADDED, _FILLED),
    Row("messages", "echo[].content[]", _ADDED, _REFUSED, "anthropic-refusal"),
    Row("messages", "echo[].content[]*", _ANY, _BLANK, "opus_46_features[adaptive-thinking]"),
    Row("messages", "events[].usage.*", _ADDED, _WHOLE),
    Row("messages", "events*", _ANY, _EMPTY, "anthropic-tool-no-args"),
    Row("messages", "events*", _ANY, _TWICE, "duplicate-message-start"),
)
