"""Finds what of a Reply was not sent yet, by comparing the sent parts with its parts."""

from collections.abc import Sequence
from dataclasses import dataclass

from polyvox.workflows.conversation import Part, Reasoning, Text, ToolCall
from polyvox.workflows.events import written


@dataclass(frozen=True, slots=True)
class Unsent:
    """``open`` is the complete form of the open part, None if the reply does not contain it.

    ``tail`` is the text that was not sent of ``open``; ``parts`` follow it, whole.
    """

    open: Part | None
    tail: str
    parts: tuple[Part, ...]


def unsent(sent: Sequence[Part], *, is_open: bool, truth: Sequence[Part]) -> Unsent:
    """Return what is missing from ``sent`` to make it ``truth``, the parts of the reply.

    ``sent`` holds the parts as far as they were sent; with ``is_open`` the last may grow. If the
    sent parts are the beginning of the truth, the result continues them exactly. One text of the
    truth may have been sent in several parts. A sent part that the truth lacks cannot be taken
    back; a part of the truth that was skipped is sent late.
    """
    waiting = [(part, written(part)) for part in truth]
    for number, shown in enumerate(sent):
        text = written(shown)
        grows = is_open and number == len(sent) - 1
        found = next(
            (i for i, (p, rest) in enumerate(waiting) if _begins(shown, text, p, rest, grows)), None
        )
        if found is None:
            continue
        part, rest = waiting.pop(found)
        rest = rest[len(text) :]
        if grows:
            return Unsent(part, rest, _whole(waiting))
        if isinstance(part, Text) and rest:
            waiting.insert(found, (part, rest))
    return Unsent(None, "", _whole(waiting))


def _begins(shown: Part, text: str, part: Part, rest: str, grows: bool) -> bool:
    """Whether ``shown``, whose text is ``text``, begins ``part``, of which ``rest`` is unsent."""
    match shown, part:
        case Text(), Text():
            return rest.startswith(text) and bool(text or grows)
        case Reasoning(), Reasoning():
            return rest.startswith(text) if grows else shown == part
        case ToolCall(), ToolCall():
            return shown.id == part.id and rest.startswith(text)
        case _:
            # Blocks that only their own protocol knows differ in their wire alone.
            return (
                type(shown) is type(part) and shown == part and _spelling(shown) == _spelling(part)
            )


def _spelling(part: Part) -> object:
    return None if part.wire is None else part.wire.json


def _whole(waiting: list[tuple[Part, str]]) -> tuple[Part, ...]:
    return tuple(
        part.edited(text=rest) if isinstance(part, Text) and rest != part.text else part
        for part, rest in waiting
    )
