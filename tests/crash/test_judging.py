"""The harness finds each fault: outcomes that were made up, one for each."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.answers import text_of
from tests.crash.asking import Seen
from tests.crash.batch import Outcome
from tests.crash.cells import POINTS, Batch, Cell
from tests.crash.judging import FAULTS, judge
from tests.crash.records import Call, Run, Workflow
from tests.crash.upstream import Request

KILLED, READY = 100.0, 104.0
CELL = Cell("direct", "mid", "chat", "d1")
CUT = Request("1.1", "main-d1", "digest", 0, at=95.0, held="mid", cut_at=100.1)
WHOLE = Request("1.2", "main-d1", "digest", 0, at=106.0, answered_at=106.1, closed_at=106.2)
LOST = Call("run_1", "main", 1, "main-d1", "interrupted", None, 104.0)
DONE = Call("run_1", "main", 2, "main-d1", "completed", 0.1, 106.2)
RUN = Run("run_1", "direct-d1", "completed", None, 106.3, (LOST, DONE))
ENDED = Workflow("run_1", "direct-d1", "completed", {"main-d1": [106.2]})
WAITING = Seen("complete", "run_1", text_of("main-d1"), ended_at=106.4)
GONE = Seen("cut", "run_1", ended_at=100.0)


def outcome(
    requests: list[Request] | None = None,
    run: Run | None = RUN,
    workflow: Workflow = ENDED,
    seen: Seen = WAITING,
    cell: Cell = CELL,
    unreached: frozenset[str] = frozenset(),
) -> Outcome:
    """Return an outcome without a fault, but for what is given."""
    return Outcome(
        Batch("embedded", "tree", (cell,)),
        KILLED,
        READY,
        {cell.mark: seen},
        {},
        [CUT, WHOLE] if requests is None else requests,
        {run.run_id: run} if run else {},
        {workflow.run_id: workflow},
        set(unreached),
    )


def faults(found: Outcome) -> dict[str, int]:
    (verdict,) = judge(found)
    return verdict.faults


def test_a_cut_call_that_is_asked_again_is_not_a_fault() -> None:
    (verdict,) = judge(outcome())
    assert not verdict.faults
    assert (verdict.going_on_s, verdict.after_ready_s) == (6.0, 2.0)


ANSWERED = replace(CUT, held=None, cut_at=None, answered_at=99.0, closed_at=99.1)
BEFORE = replace(DONE, attempt=1, ended_at=99.2)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (outcome(unreached=frozenset({"d1"})), {"unreached": 1}),
        (outcome(workflow=replace(ENDED, status="running")), {"not_ended": 1, "disagreeing": 1}),
        (
            outcome([ANSWERED, WHOLE], replace(RUN, calls=(BEFORE, DONE))),
            {"repeated": 1},
        ),
        (outcome(run=replace(RUN, calls=(DONE,))), {"no_row": 1, "said_exact": 1}),
        (
            outcome([WHOLE], replace(RUN, calls=(DONE, replace(DONE, attempt=3)))),
            {"no_request": 1},
        ),
        (
            outcome(run=replace(RUN, calls=(LOST, replace(DONE, status="running")))),
            {"open_rows": 1},
        ),
        (outcome(run=None), {"no_row": 2, "unknown_runs": 1}),
        (outcome(workflow=replace(ENDED, status="failed")), {"disagreeing": 1}),
        (
            outcome(run=replace(RUN, calls=(replace(LOST, cost_usd=0.0), DONE))),
            {"said_exact": 1},
        ),
        (outcome(seen=GONE), {"for_nobody": 1}),
        (
            outcome(seen=Seen("error 503", "run_1", ended_at=106.05)),
            {"told_and_run": 1},
        ),
        (
            outcome(
                seen=Seen("cut", "run_1", fetched="404", ended_at=100.0),
                cell=replace(CELL, mode="responses stream"),
            ),
            {"lost_answers": 1},
        ),
        (outcome(seen=replace(WAITING, text="main-d1.0 main-d1.2")), {"garbled": 1}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_each_fault_is_found(found: Outcome, wanted: dict[str, int]) -> None:
    assert faults(found) == wanted


def test_an_answer_that_was_not_recorded_may_be_bought_again() -> None:
    """The worker may have died before it read the answer."""
    (verdict,) = judge(outcome([ANSWERED, WHOLE]))
    assert (verdict.rebought, verdict.faults) == (1, {})


def test_a_retry_of_an_sdk_must_not_buy_twice() -> None:
    again = replace(WHOLE, number="1.3", at=105.0)
    run = replace(RUN, run_id="run_2", calls=(replace(DONE, run_id="run_2"),))
    found = outcome([CUT, WHOLE, again], cell=replace(CELL, mode="chat sdk"))
    found.runs["run_2"] = run
    assert faults(found) == {"twice": 1}


def test_the_page_explains_every_point_and_every_fault() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "crashes.md").read_text("utf-8")
    rows = re.findall(r"^\| (.*?) \|", page, re.M)
    explained = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert set(POINTS) | set(FAULTS) <= explained
