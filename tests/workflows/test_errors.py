"""Which of several failures the client gets, in every place where several can fail."""

from importlib.resources import files
from itertools import combinations
from typing import Any, get_args

import pytest

from polyvox.workflows import Branch, Params, Reply, Run, ToolCall, flow
from polyvox.workflows.boundary.failures import as_json, from_json
from polyvox.workflows.errors import ErrorKind, ModelError, most_actionable
from polyvox.workflows.flow import Flow
from polyvox.workflows.source.bundle import load_bundle
from polyvox.workflows.testing import Rehearsal


def template(name: str) -> Flow:
    source = files("polyvox.workflows.templates").joinpath(f"{name}.py").read_text("utf-8")
    return load_bundle(source, f"{name}.py")


ROUTER, FUSION = template("router"), template("fusion")

TOO_LONG = ModelError("context_length", "9 > 8")
BAD = ModelError("invalid_request", "no such field")
SOON = ModelError("rate_limit", "slow down", retry_after_s=2)
LATER = ModelError("rate_limit", "slow down for long", retry_after_s=60)
KEY = ModelError("provider_authentication", "wrong key")
DOWN = ModelError("overloaded", "busy")
SILENT = ModelError("timeout", "silence")

IN_ORDER = (TOO_LONG, BAD, LATER, SOON, KEY, DOWN)

pairs = pytest.mark.parametrize(
    ("wins", "loses"),
    [*combinations(IN_ORDER, 2)],
    ids=lambda error: f"{error.kind}-{error.retry_after_s}",
)


@pairs
def test_the_failure_that_helps_the_client_most_wins(wins: ModelError, loses: ModelError) -> None:
    """In whichever order they happened."""
    assert most_actionable([wins, loses]) is wins
    assert most_actionable([loses, SILENT, wins]) is wins


def test_the_first_of_equal_failures_wins() -> None:
    """It is that of the model which was wanted most."""
    assert most_actionable([DOWN, SILENT]) is DOWN
    assert most_actionable([SILENT, DOWN]) is SILENT


def test_a_failure_whose_text_was_seen_wins() -> None:
    """No other answer can replace what the client has."""
    cut = ModelError("stream_cut", "cut", shown=True)
    assert most_actionable([TOO_LONG, cut]) is cut


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_every_kind_has_its_rank(kind: ErrorKind) -> None:
    assert most_actionable([ModelError(kind, "why"), TOO_LONG]).message in ("why", "9 > 8")


@pytest.mark.parametrize("error", [*IN_ORDER, SILENT], ids=lambda error: error.message)
def test_a_failure_survives_from_one_attempt_to_the_next(error: ModelError) -> None:
    found = from_json(as_json(error))
    assert (found.kind, found.message) == (error.kind, error.message)
    assert found.retry_after_s == error.retry_after_s


@pairs
def test_the_router_reports_the_failure_that_wins(wins: ModelError, loses: ModelError) -> None:
    """Of all candidates, in whichever order they were asked."""
    for first, second in ((wins, loses), (loses, wins)):
        rehearsal = Rehearsal({"x:a": first, "x:b": SILENT, "x:c": second})
        played = rehearsal.play(ROUTER, "Hello!", default="x:a", fallbacks=["x:b", "x:c"])
        assert played.error is wins
        assert [step.model for step in played.steps] == ["x:a", "x:b", "x:c"]


def test_the_router_reports_a_failure_though_another_candidate_refused() -> None:
    """A refusal is an answer, but not the last one's."""
    refusal = Reply((), "refusal")
    rehearsal = Rehearsal({"x:a": TOO_LONG, "x:b": refusal, "x:c": DOWN})
    played = rehearsal.play(ROUTER, "Hello!", default="x:a", fallbacks=["x:b", "x:c"])
    assert played.error is TOO_LONG


@pairs
@pytest.mark.parametrize("mode", ["auto", "required"])
def test_fusion_reports_the_failure_that_wins(
    wins: ModelError, loses: ModelError, mode: str
) -> None:
    """Of a panel without an answer and the main model."""
    for main, branch in ((wins, loses), (loses, wins)):
        call: Any = [_call(), main] if mode == "auto" else main
        rehearsal = Rehearsal({"x:main": call, "x:a": branch, "x:b": SILENT})
        played = rehearsal.play(
            FUSION, "Hello!", main="x:main", panel=["x:a", "x:b"], judge="x:main", mode=mode
        )
        assert played.error is wins


def _call() -> Any:
    return ToolCall("c1", "problem_review", '{"problem": "p"}')


def test_a_panel_that_answered_does_not_hide_why_the_main_model_failed() -> None:
    """One branch's small context says nothing about the conversation."""
    rehearsal = Rehearsal({"x:main": DOWN, "x:a": TOO_LONG, "x:b": "An answer."})
    played = rehearsal.play(
        FUSION, "Hello!", main="x:main", panel=["x:a", "x:b"], judge="x:main", mode="required"
    )
    assert played.error is DOWN


class PanelParams(Params):
    pass


@flow
async def asks_a_panel(run: Run[PanelParams]) -> Reply:
    """Raise what a panel without answers reports."""
    branches = [Branch(name, f"x:{name}", run.conversation) for name in ("a", "b", "c")]
    panel = await run.panel(branches, quorum=3, grace_s=1)
    if panel.error is not None:
        raise panel.error
    return panel.answers[0][1]


@pairs
def test_a_panel_names_the_failure_that_wins(wins: ModelError, loses: ModelError) -> None:
    """For flows that need an answer."""
    rehearsal = Rehearsal({"x:a": loses, "x:b": wins, "x:c": SILENT})
    assert rehearsal.play(asks_a_panel, "Hello!").error is wins


def test_a_panel_without_failures_has_no_error() -> None:
    rehearsal = Rehearsal({"x:a": "A.", "x:b": "B.", "x:c": "C."})
    assert rehearsal.play(asks_a_panel, "Hello!").text == "A."
