"""The crash matrix in small: one kill of the whole tree with cells of all kinds.

``make crash`` runs all of it.
"""

import sys

import pytest

from tests.crash.batch import Outcome, run_batch
from tests.crash.cells import Batch, Cell
from tests.crash.judging import Verdict, judge

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stops processes, reads /proc")

CELLS = (
    Cell("direct", "received", "chat", "d1"),
    Cell("direct", "first", "chat", "d2"),
    Cell("direct", "mid", "messages stream", "d3"),
    Cell("direct", "late", "background", "d4"),
    Cell("direct", "end", "background", "d6"),
    Cell("direct", "tool round", "chat", "d5"),
    Cell("fusion", "panel", "background stream", "f1"),
    Cell("consult", "tool", "background", "c1"),
    Cell("consult", "tool round", "messages", "c2"),
)
CAN_FETCH = ("d4", "d6", "f1", "c1")
GO_ON = ("d5", "c2")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What was seen when ``polyvox up`` and its engine were killed with all cells in place."""
    return run_batch(Batch("embedded", "tree", CELLS), tmp_path_factory.mktemp("crash"))


@pytest.fixture
def verdicts(outcome: Outcome) -> dict[str, Verdict]:
    return {verdict.cell.mark: verdict for verdict in judge(outcome)}


@pytest.mark.timeout(240)
def test_every_run_ends_and_nothing_is_lost(verdicts: dict[str, Verdict]) -> None:
    """After kill -9 of everything at nine points."""
    assert not {mark: verdict.faults for mark, verdict in verdicts.items() if verdict.faults}


@pytest.mark.timeout(240)
def test_answers_that_can_be_fetched_are_completed(verdicts: dict[str, Verdict]) -> None:
    assert {mark: verdicts[mark].client.rpartition(", then ")[2] for mark in CAN_FETCH} == (
        dict.fromkeys(CAN_FETCH, "completed")
    )


@pytest.mark.timeout(240)
def test_a_session_continues_after_the_restart(outcome: Outcome) -> None:
    """The second request of a session sees what the killed program did in the first one."""
    assert {mark: outcome.second[mark].ending for mark in GO_ON} == dict.fromkeys(GO_ON, "complete")
    experts = [request for request in outcome.requests if request.model == "expert-c2"]
    assert len(experts) == 1
