"""What the passes over a history have to know about the elements of one protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from polyvox.workflows.conversation import Json, Protocol


@dataclass(frozen=True, slots=True)
class Spelling:
    """How ``protocol`` spells calls, results and media; each function returns a changed element.

    ``call`` gets a call's element, its id and its arguments, ``result`` a result's element and its
    call's id, ``contents`` a result's element and the elements of its parts, ``media`` a part's
    element and its media type, ``message`` a message's element and those of its parts (None for a
    part without one); it returns None if the message cannot be spelled from these. All return the
    element itself if nothing changes.

    ``call_id`` spells an id in the protocol's alphabet; an id has at most ``longest_id``
    characters. With ``answers_each`` the results of a message of this protocol follow that message,
    otherwise they follow all messages that the assistant wrote in a row. ``hiding`` are the types
    of elements that may stand for calls which are stored elsewhere.
    """

    protocol: Protocol
    call: Callable[[Json, str, str], Json]
    result: Callable[[Json, str], Json]
    contents: Callable[[Json, Sequence[Json]], Json]
    media: Callable[[Json, str], Json]
    message: Callable[[Json, Sequence[Json | None]], Json | None]
    call_id: Callable[[str], str]
    longest_id: int = 200
    answers_each: bool = False
    hiding: frozenset[str] = frozenset()
