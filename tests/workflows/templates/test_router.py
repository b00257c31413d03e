"""Rules of ``router`` that depend on the time and on money, where both can be made to pass."""

from importlib.resources import files
from typing import Any

import pytest

from polyvox.workflows import Reply, Text
from polyvox.workflows.source.bundle import load_bundle
from polyvox.workflows.testing import Rehearsal

SOURCE = files("polyvox.workflows.templates").joinpath("router.py").read_text("utf-8")
ROUTER = load_bundle(SOURCE, "router.py")
HOUR_S = 3600.0


def routed(rehearsal: Rehearsal, **params: Any) -> str:
    """Return the model that a request is sent to."""
    played = rehearsal.play(ROUTER, "Hello!", default="x:day", **params)
    return str(next(note["model"] for note in played.notes if note["what"] == "routed"))


@pytest.mark.parametrize(
    ("start", "stop", "models"),
    [
        ("22:00", "06:00", ["x:night", "x:night", "x:day", "x:night"]),
        ("05:00", "09:00", ["x:day", "x:night", "x:night", "x:day"]),
        ("05:00", None, ["x:day", "x:night", "x:night", "x:night"]),
        (None, "06:00", ["x:night", "x:night", "x:day", "x:day"]),
    ],
)
def test_a_rule_may_hold_at_some_hours_only(
    start: str | None, stop: str | None, models: list[str]
) -> None:
    """Also over midnight; asked at 0, 5, 8 and 23 o'clock."""
    rehearsal = Rehearsal({"x:day": "Day.", "x:night": "Night."})
    rule = {"model": "x:night", "from_utc": start, "until_utc": stop}
    found = []
    for hours in (0, 5, 3, 15):
        rehearsal.pause(hours * HOUR_S)
        found.append(routed(rehearsal, rules=[rule], sticky=False))
    assert found == models


@pytest.mark.parametrize(
    ("cost", "models"),
    [(0.4, ["x:day", "x:day", "x:thrift"]), (None, ["x:day", "x:thrift", "x:thrift"])],
    ids=["counted", "unknown"],
)
def test_a_session_moves_to_a_cheaper_model_when_little_is_left(
    cost: float | None, models: list[str]
) -> None:
    """Each request costs something; of an unknown cost nothing is left, for that is not zero."""
    rehearsal = Rehearsal({"x:day": Reply((Text("Day."),), cost_usd=cost), "x:thrift": "Night."})
    rule = {"model": "x:thrift", "left_below_usd": 0.5, "overrides": True}
    found = [routed(rehearsal, rules=[rule], budget_usd=1.0) for _ in range(3)]
    assert found == models
