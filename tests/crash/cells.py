"""The cells of the matrix: who dies, when, what runs, and how the client asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Flow = Literal["direct", "fusion", "consult"]
Point = Literal[
    "received",
    "started",
    "panel",
    "tool",
    "first",
    "mid",
    "late",
    "end",
    "tool round",
    "asking",
    "ending",
]
Mode = Literal[
    "chat",
    "chat stream",
    "messages",
    "messages stream",
    "responses",
    "responses stream",
    "background",
    "background stream",
    "chat sdk",
    "messages sdk",
]

POINTS: dict[Point, str] = {
    "received": "the request has arrived, the run has not started",
    "started": "the run has started, the provider has not received its first call",
    "panel": "two voices have answered, the third has the request",
    "tool": "the worker's mounted tool has asked the expert",
    "first": "the provider has the request for the answer and has sent nothing",
    "mid": "the provider has sent two tokens of the answer",
    "late": "the provider has sent the last token, but not the end of the answer",
    "end": "the worker has read the whole answer, the engine does not have its result",
    "tool round": "the client has a tool call and has not sent the tool's result",
    "asking": "any instruction while many runs begin",
    "ending": "any instruction while many runs end",
}

FLOWS: dict[Flow, tuple[Point, ...]] = {
    "direct": ("received", "started", "first", "mid", "late", "end", "tool round"),
    "fusion": ("received", "started", "panel", "first", "mid", "late", "end", "tool round"),
    "consult": ("received", "started", "tool", "first", "mid", "late", "end", "tool round"),
}

STORM: tuple[Point, ...] = ("asking", "ending")
"""The points of a storm: the victim is stopped at the instant when the provider receives a request,
or sees that an answer was read, while many runs begin or end."""

EMITTING: dict[Flow, tuple[str, int | None]] = {
    "direct": ("main", None),
    "fusion": ("author", None),
    "consult": ("worker", 1),
}
"""The role that writes the client's answer, and the tool results before it (None: any)."""

SDK_MODES: tuple[Mode, ...] = ("chat sdk", "messages sdk")
MODES: tuple[Mode, ...] = (
    "chat",
    "chat stream",
    "messages",
    "messages stream",
    "responses",
    "responses stream",
    "background",
    "background stream",
    *SDK_MODES,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One client's request of one flow that is at ``point`` when something dies."""

    flow: Flow
    point: Point
    mode: Mode
    mark: str
    """Identifies the cell in names of models, which providers, ledger and histories contain."""

    @property
    def model(self) -> str:
        """The virtual model that the client asks."""
        return f"{self.flow}-{self.mark}"

    @property
    def protocol(self) -> str:
        word = self.mode.partition(" ")[0]
        return "responses" if word == "background" else word

    @property
    def stream(self) -> bool:
        return self.mode.endswith("stream")

    @property
    def retries(self) -> bool:
        """Whether an official SDK asks again by itself."""
        return self.mode in SDK_MODES

    @property
    def fetchable(self) -> bool:
        """Whether the client can fetch the answer later."""
        return self.protocol == "responses"

    @property
    def answering(self) -> str:
        """The provider's model that writes the client's answer."""
        return f"{EMITTING[self.flow][0]}-{self.mark}"

    @property
    def hold(self) -> tuple[str, tuple[str, int | None]] | None:
        """The provider's model to hold, the point and the number of tool results; None if no
        request is held."""
        if self.point == "panel":
            return f"voice3-{self.mark}", ("first", None)
        if self.point == "tool":
            return f"expert-{self.mark}", ("first", None)
        if self.point in ("received", "started", "tool round", "asking"):
            return None
        _, results = EMITTING[self.flow]
        return self.answering, ("end" if self.point == "ending" else self.point, results)


def cells_of(flow: Flow, points: tuple[Point, ...], modes: tuple[Mode, ...]) -> Iterator[Cell]:
    """Yield the cells of ``flow`` that are possible."""
    number = 0
    for point in (*FLOWS[flow], *STORM):
        for mode in modes:
            number += 1
            if point in points and _is_possible(point, mode):
                yield Cell(flow, point, mode, f"{flow[0]}{number:03}")


def _is_possible(point: Point, mode: Mode) -> bool:
    # Between two requests nothing is open that an SDK could send again.
    return point != "tool round" or mode in ("chat", "messages", "responses")


@dataclass(frozen=True, slots=True)
class Batch:
    """Cells that one kill meets. ``deployment`` and ``victim`` are names in ``deployments``.

    In a storm, all cells have the same point, and the victim is stopped at the request (or the
    answer that was read) number ``storm``; 0: the batch is not a storm.
    """

    deployment: str
    victim: str
    cells: tuple[Cell, ...]
    storm: int = 0

    @property
    def name(self) -> str:
        flows = "+".join(dict.fromkeys(cell.flow for cell in self.cells))
        storm = f", storm while {self.cells[0].point}, number {self.storm}" if self.storm else ""
        return f"{self.deployment}/{self.victim}/{flows}{storm}"
