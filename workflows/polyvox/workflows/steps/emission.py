"""What a run has streamed to its client, and how the run's Reply is completed with it.

A client that reads a stream cannot unread it, and a client that wants the whole answer gets the
Reply. Both must say the same, so the Reply of a run begins with everything that was emitted, in
that order. What the flow's own Reply has beyond that follows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from polyvox.workflows.conversation import Opaque, Part, Reasoning, Refusal, Text, ToolCall
from polyvox.workflows.reply import Reply

NOT_IN_REPLY = "emitted but not in the reply"
"""The note of a run whose flow emitted something that its Reply lacks or has in another place."""

_Written = Text | Refusal | Reasoning


@dataclass(frozen=True, slots=True)
class Emitted:
    """A part that was emitted by ``step``; ``progress`` is what ``run.show`` showed."""

    step: str
    part: Part
    progress: bool = False


def visible_parts(reply: Reply, hidden: Iterable[str], *, hold_calls: bool) -> list[Part]:
    """Return the parts of an emitting step's reply that the client sees."""
    names = frozenset(hidden)
    hides = any(call.name in names for call in reply.tool_calls)
    return [
        part
        for part in reply.parts
        if not isinstance(part, ToolCall) or (part.name not in names and not (hides and hold_calls))
    ]


def completed(reply: Reply, emitted: Iterable[Emitted]) -> tuple[Reply, list[str]]:
    """Return ``reply`` beginning with all ``emitted`` parts, and the steps that it contradicts.

    These are the steps whose parts the reply lacks, changes, or has after other parts. White space
    around a text does not count.
    """
    shown = [one.part for one in emitted if one.progress]
    left = [part for part in reply.parts if not any(part is one for one in shown)]
    parts: list[Part] = []
    contradicted: dict[str, None] = {}
    lacks_call = False
    for one in emitted:
        parts.append(one.part)
        if one.progress or _take(one.part, left):
            continue
        contradicted[one.step] = None
        lacks_call |= isinstance(one.part, ToolCall)
    whole = replace(reply, parts=(*parts, *left))
    if lacks_call and reply.finish == "stop":
        whole = replace(whole, finish="tool_calls")
    return whole, list(contradicted)


def _take(part: Part, left: list[Part]) -> bool:
    """Remove ``part`` from ``left``; return whether it was at the beginning, and all of it."""
    if isinstance(part, Text | Refusal | Reasoning):
        return _take_text(part, left)
    at = next((at for at, one in enumerate(left) if _is_same(part, one)), None)
    if at is None:
        return False
    same = left.pop(at)
    unchanged = not isinstance(part, ToolCall) or part == same
    return at == 0 and unchanged


def _take_text(part: _Written, left: list[Part]) -> bool:
    """Remove the text of ``part``, which may be the beginning of one part or several whole ones."""
    rest = part.text.strip()
    if not rest:
        if left and left[0] == part:
            del left[0]
        return True
    in_place = True
    while rest:
        at = next((at for at, one in enumerate(left) if _continues(part, rest, one)), None)
        if at is None:
            return False
        # A call that is not emitted is sent after the texts that follow it.
        in_place = in_place and all(isinstance(one, ToolCall) for one in left[:at])
        found = left[at]
        assert isinstance(found, Text | Refusal | Reasoning)
        own = found.text.lstrip()
        if own.startswith(rest):
            further = own[len(rest) :]
            # White space at the end of both is the same white space.
            same = own == part.text.lstrip() or not further.strip()
            left[at : at + 1] = [] if same else [found.edited(text=further)]
            rest = ""
        else:
            del left[at]
            rest = rest[len(own.rstrip()) :].lstrip()
    return in_place


def _continues(part: _Written, rest: str, other: Part) -> bool:
    if not isinstance(other, type(part)):
        return False
    own = other.text.strip()
    return bool(own) and (own.startswith(rest) or rest.startswith(own))


def _is_same(part: Part, other: Part) -> bool:
    if isinstance(part, ToolCall):
        return isinstance(other, ToolCall) and part.id == other.id
    if isinstance(part, Opaque):
        # Its wire element is all it has, and is not compared.
        return isinstance(other, Opaque) and part.wire == other.wire
    return part == other
