"""The coverage table's terms: places, fates and rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from polyvox.workflows.conversation import Json, Protocol

Place = Literal["request", "tool", "element", "answer"]
Outcome = Literal["mapped", "idle", "lost", "refused"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to a field under another protocol.

    ``mapped``: it becomes ``target``, a field of the other protocol. ``idle``: leaving it out
    changes nothing, or Polyvox itself does what it requests. ``lost``: it is left out and named.
    ``refused``: the request is refused with 400, because the answer would be a different one.
    ``note`` gives details: how, why, or what to do instead.
    """

    outcome: Outcome
    target: str = ""
    note: str = ""


def becomes(target: str, note: str = "") -> Fate:
    return Fate("mapped", target, note)


def idle(note: str) -> Fate:
    return Fate("idle", note=note)


def lost(note: str = "") -> Fate:
    return Fate("lost", note=note)


def refused(remedy: str) -> Fate:
    return Fate("refused", note=remedy)


@dataclass(frozen=True, slots=True)
class Row:
    """One field and its fate over each of the two other protocols.

    ``defaults`` are values that request what the other protocols do anyway.
    """

    place: Place
    field: str
    over: Mapping[Protocol, Fate]
    defaults: tuple[Json, ...] = ()
