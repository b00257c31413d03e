"""Members of chunks and choices that Polyvox does not know, each passed on where it came.

The decoder notes them chunk by chunk and attaches what changed to the first event of the chunk; the
encoder writes it on that event's chunk. A member that a provider repeats on every chunk
(``system_fingerprint``) is on every chunk of the client, one that came once (``content_filter_
results`` of Azure) on one.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from polyvox.workflows.conversation import Json

CHUNK: Final = "$chunk"
"""In a delta's fragment of the choice: the members of the chunk itself, from this one on."""

LAST: Final = "$last"
"""In an answer's ending: the chunk that ended it, with the members that came on it."""

REPEATED: Final = ("system_fingerprint", "service_tier")
"""Members that OpenAI writes on every chunk. Those of the first chunk are taken to go on."""

_KNOWN: Final = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "obfuscation", "error"}
)
"""Members of a chunk that are written anew, or padding."""

_KNOWN_OF_CHOICE: Final = frozenset(
    {"index", "delta", "message", "logprobs", "usage", "finish_reason"}
)

Members = dict[str, Json]


class Passing:
    """The further members of one stream. ``answer`` has those of all chunks, for whole answers."""

    def __init__(self) -> None:
        self.answer: Members = {}
        self._choice: Members = {}
        self._shown: Members = {}
        self._held: Members = {}
        self._last: Members = {}
        self._begun_by: Members | None = None
        # The members of a chunk with the same further members as the last one.
        self._names: AbstractSet[str] = frozenset()

    def note(self, chunk: Members) -> Members:
        """Note the members of a chunk and return them."""
        further = {name: value for name, value in chunk.items() if name not in _KNOWN}
        for name, value in further.items():
            # A null in a later chunk does not delete a member.
            if value is not None or name not in self.answer:
                self.answer[name] = value
        return further

    def begin(self, chunk: Members, choice: Members) -> Members:
        """Return the members with which the first chunk begins the answer, and its empty ones."""
        delta = choice.get("delta") or {}
        empty = {member: value for member, value in delta.items() if value in (None, "")}
        self.note(chunk)
        if choice.get("finish_reason"):
            # The same chunk ends the answer, and its members are written there.
            return {"choices": [{"delta": empty}]}
        own = _further(choice)
        _merge(self._choice, own)
        self._begun_by = chunk
        self._shown = repeated(self.answer)
        return {**self.answer, "choices": [{"delta": empty, **own}]}

    def read(self, chunk: Members, choice: Members) -> Members:
        """Note a chunk; return the fragment to be written with the first event of the chunk."""
        if choice.get("finish_reason") and not self._last:
            self._end(chunk, choice)
            return {}
        if chunk.keys() == self._names and choice.keys() <= _KNOWN_OF_CHOICE and not self._held:
            # The hot path: nothing new, as on nearly every chunk.
            for name, value in self._shown.items():
                if chunk[name] != value:
                    break
            else:
                return {}
        if chunk is self._begun_by:
            # What the answer begins with is not repeated.
            further, own = self._shown, dict[str, Json]()
        else:
            further, own = self.note(chunk), _further(choice)
        _merge(self._choice, own)
        fragment, self._held = self._held, {}
        if CHUNK in fragment or further != self._shown:
            self._shown = fragment[CHUNK] = {**fragment.get(CHUNK, {}), **further}
        self._names = chunk.keys() if further.keys() == self._shown.keys() else frozenset()
        return {**fragment, **own}

    def hold(self, fragment: Members) -> None:
        """Keep a fragment for the next chunk, because nothing of this one is written."""
        self._held = {name: value for name, value in fragment.items() if name != "logprobs"}

    def _end(self, chunk: Members, choice: Members) -> None:
        own = _further(choice, null=True)
        held = {name: value for name, value in self._held.items() if name != CHUNK}
        _merge(self._choice, {name: value for name, value in own.items() if value is not None})
        self._choice = {**own, **self._choice}
        self._last = {**self._held.get(CHUNK, {}), **self.note(chunk), "choices": [{**held, **own}]}

    def ending(self, finish_reason: str | None) -> Members:
        """Return the members of the whole answer, with those of its last chunk apart."""
        choice = {**self._choice, "finish_reason": finish_reason}
        whole = {**self.answer, "choices": [choice]}
        last = self._last or {"choices": [{}]}
        same = last == {**self.answer, "choices": [self._choice]}
        return whole if same else {**whole, LAST: last}


def repeated(members: Members) -> Members:
    """Return those of the first chunk's members that the next chunks are taken to have too."""
    return {name: members[name] for name in REPEATED if name in members}


def without_last(ending: Members) -> Members:
    """Return the members of a whole answer."""
    return {name: value for name, value in ending.items() if name != LAST}


def last_chunk(ending: Members) -> tuple[Members, Members]:
    """Return the members of the chunk that ended an answer, and those of its choice."""
    last = dict(ending.get(LAST) or ending)
    choice = dict((last.pop("choices", None) or [{}])[0])
    last.pop("usage", None)
    choice.pop("finish_reason", None)
    choice.pop("logprobs", None)
    return last, choice


def _further(choice: Members, *, null: bool = False) -> Members:
    return {
        name: value
        for name, value in choice.items()
        if name not in _KNOWN_OF_CHOICE and (null or value is not None)
    }


def _merge(whole: Members, members: Members) -> None:
    """Add ``members`` to ``whole``: objects are merged, other values replaced."""
    for name, value in members.items():
        before = whole.get(name)
        if isinstance(value, dict):
            whole[name] = merged = dict(before) if isinstance(before, dict) else {}
            _merge(merged, value)
        else:
            whole[name] = value
