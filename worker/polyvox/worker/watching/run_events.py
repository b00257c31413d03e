"""The events of a run for people who watch it: its steps, the emitted text, its end."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from polyvox.workflows.reply import METERS, Usage

Tokens = dict[str, int | None]
"""Tokens by meter; None is unknown."""

TextPart = Literal["text", "reasoning", "refusal", "tool_call"]
"""The kind of part that a text belongs to."""


class Place(NamedTuple):
    """The place of an event: its history event's, and its ``turn`` among those of that one.

    It is the same in every process and whenever the run is read. ``str`` of it is its id.
    """

    event: int
    turn: int

    def __str__(self) -> str:
        return f"{self.event}.{self.turn}"


START = Place(0, -1)
"""The place before all events."""


def parse_place(text: str) -> Place:
    """Return the place with that id. Raises ValueError."""
    event, _, turn = text.partition(".")
    return Place(int(event), int(turn or 0))


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a step or a run failed."""

    kind: str
    message: str | None


@dataclass(frozen=True, slots=True)
class RunBegan:
    """The run's beginning: the name that the client requested, and the flow version."""

    run_id: str
    model: str
    flow: str
    type: Literal["run"] = "run"


@dataclass(frozen=True, slots=True)
class StepBegan:
    """A model call or a tool began; exactly one of ``model`` and ``tool`` is set.

    ``call`` identifies it in its run. The client sees the text of a step that ``emits``.
    """

    call: str
    step: str
    model: str | None = None
    tool: str | None = None
    emits: bool = False
    type: Literal["step"] = "step"


@dataclass(frozen=True, slots=True)
class TextWritten:
    """Text that a step emitted, or with ``show`` the flow itself.

    ``part`` is null if the journal was turned on in the middle of a part. ``tool`` is the name of
    the called tool, whose arguments are the text.
    """

    call: str
    attempt: int
    text: str
    part: TextPart | None
    tool: str | None = None
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class TextVoid:
    """The text of the call so far is void: another attempt begins, or the whole text follows.

    ``attempt`` is the one whose text follows.
    """

    call: str
    attempt: int
    why: Literal["another attempt", "the text was incomplete"]
    type: Literal["text_void"] = "text_void"


@dataclass(frozen=True, slots=True)
class JournalStopped:
    """No further text of the call arrives before the call has completed."""

    call: str
    reason: str
    type: Literal["journal_stopped"] = "journal_stopped"


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step ended after ``attempts``: completed, failed or cancelled.

    In a record of the ledger ``attempts`` is the number of this attempt, which may be interrupted.
    ``cost_usd`` is null if it is unknown.
    """

    call: str
    status: str
    attempts: int
    duration_ms: int | None
    tokens: Tokens = field(default_factory=dict)
    cost_usd: float | None = None
    finish: str | None = None
    error: Problem | None = None
    type: Literal["step_ended"] = "step_ended"


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The run's end, with the whole text of its Reply, which is authoritative."""

    status: str
    duration_ms: int | None
    text: str = ""
    tokens: Tokens = field(default_factory=dict)
    cost_usd: float | None = None
    finish: str | None = None
    error: Problem | None = None
    type: Literal["run_ended"] = "run_ended"


Happening = RunBegan | StepBegan | TextWritten | TextVoid | JournalStopped | StepEnded | RunEnd


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened in a run. ``at`` is the time of its history event."""

    place: Place
    at: datetime
    what: Happening


def tokens_of(usage: Usage) -> Tokens:
    """Return the counts of ``usage`` by meter."""
    return {meter: getattr(usage, meter) for meter in METERS}
