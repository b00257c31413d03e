"""The runs of this process whose clients are held by other processes."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from polyvox.activities.live.channel import EVENT_BYTES
from polyvox.workflows.events import Event, PartDelta, PartEnded, written


class State(Enum):
    """What is known about a route's listener."""

    ASKED = auto()
    """It has not answered yet; batches are sent already."""
    LIVE = auto()
    END_ONLY = auto()
    NOBODY = auto()
    """It cannot be reached, or nobody listens there."""


@dataclass(slots=True)
class Route:
    """A run whose listener is in the process ``listener``."""

    run_id: str
    listener: str
    state: State = State.ASKED
    calls: int = 0
    waiting_bytes: int = 0
    overflown: bool = False
    losses: set[str] = field(default_factory=set)
    sequences: dict[tuple[str, int], int] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    used_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where processes and listeners are; both raise ModelError if the database fails.

    ``address_of`` gives the base URL of a process's lane, None if it is dead; ``listener_of`` the
    process that holds a run's client, None if none does.
    """

    address_of: Callable[[str], Awaitable[str | None]]
    listener_of: Callable[[str], Awaitable[str | None]]


def size_of(event: Event) -> int:
    """Return approximately how many bytes an event has on the lane."""
    match event:
        case PartDelta(text):
            return EVENT_BYTES + len(text)
        case PartEnded(part):
            return EVENT_BYTES + len(written(part))
        case _:
            return EVENT_BYTES
