"""Judge a cell by the client's output and by the runs that the server recorded for it."""

from dataclasses import dataclass
from typing import Any, Literal

from tests.e2e.matrix.rows import Cell
from tests.e2e.matrix.scenario import RECOVERIES

Mark = Literal["passed", "shown", "failed", "absent"]

LABEL = "[simulated:main]"
WRITTEN = "hi there\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one client for one question.

    ``text`` is its last answer, ``shown`` all its user sees. ``failed`` is whether the client
    reports failure. ``written`` is the content of ``hello.txt``, None without one or for a library.
    ``stuck`` says where a client hung that did not end; then nothing else counts.
    """

    text: str = ""
    shown: str = ""
    failed: bool = False
    written: str | None = None
    stuck: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` says what is wrong, or why the cell is empty or an error is expected."""

    mark: Mark
    reason: str = ""


def judge(cell: Cell, outcome: Outcome, runs: list[dict[str, Any]]) -> Verdict:
    """Judge by ``runs``, the cell's runs with their calls, oldest first."""
    try:
        assert not outcome.stuck, outcome.stuck[:300]
        _spoke(cell, runs)
        if cell.shows:
            _showed(outcome, runs)
            return Verdict("shown", cell.shows)
        _answered(cell, outcome)
        _asked(cell, runs)
    except AssertionError as failed:
        return Verdict("failed", str(failed))
    return Verdict("passed")


def _spoke(cell: Cell, runs: list[dict[str, Any]]) -> None:
    spoken = {run["protocol"] for run in runs}
    assert spoken == {cell.row.protocol}, f"protocols spoken: {sorted(spoken) or 'none'}"


def _showed(outcome: Outcome, runs: list[dict[str, Any]]) -> None:
    assert "= 42" not in outcome.text, "there is an answer, where an error was to be expected"
    assert _statuses(runs) == ["failed"], f"runs: {_statuses(runs)}, expected one that failed"
    # The error must contain the run's id, so that its user can look up the run.
    assert runs[0]["run_id"] in outcome.shown, "the run's error was not shown"


def _answered(cell: Cell, outcome: Outcome) -> None:
    scenario = cell.scenario
    assert not outcome.failed, f"the client failed: {_tail(outcome.shown)}"
    wanted = ["= 42", LABEL]
    if scenario.image:
        wanted = ["48x32", "red"]
    elif scenario.tool:
        wanted = [LABEL] if outcome.written is not None else [LABEL, "21 degrees in Paris"]
        assert outcome.written in (None, WRITTEN), f"hello.txt holds {outcome.written!r}"
    missing = [words for words in wanted if words not in outcome.text]
    assert not missing, f"its last words lack {missing}: {_tail(outcome.text or outcome.shown)}"


def _asked(cell: Cell, runs: list[dict[str, Any]]) -> None:
    scenario, statuses = cell.scenario, _statuses(runs)
    if scenario.name in RECOVERIES:
        assert statuses == ["failed", "completed"], f"runs: {statuses}"
        return
    assert set(statuses) == {"completed"}, f"runs: {statuses}"
    if scenario.tool:
        finishes = [run["finish"] for run in runs]
        assert finishes == ["tool_calls", "stop"], f"runs finished with {finishes}"
    elif not scenario.image:
        # An agent may read an image with its own tool, and so send two requests.
        assert len(runs) == 1, f"{len(runs)} runs where one was to be expected"
    if scenario.name == "mended":
        assert len(runs[0]["calls"]) == 3, f"{len(runs[0]['calls'])} attempts, expected 3"


def _statuses(runs: list[dict[str, Any]]) -> list[str]:
    return [run["status"] for run in runs]


def _tail(text: str) -> str:
    return " ".join(text.split())[-300:]
