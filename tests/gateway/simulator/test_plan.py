"""Model names as plans."""

import pytest

from polyvox.gateway.simulator import plan
from polyvox.gateway.simulator.plan import Fault, Plan


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("main", Plan("main")),
        ("", Plan("")),
        ("skeptic-ttft200-itl10.5", Plan("", "skeptic", ttft_s=0.2, itl_s=0.0105)),
        ("main-err429-ra1", Plan("", faults=(Fault("err", 429),), retry_after_s=1)),
        ("n200", Plan("", tokens=200)),
        ("err500x2-id7", Plan("", faults=(Fault("err", 500, 2),))),
        ("main-cut5", Plan("", faults=(Fault("cut", 5),))),
        ("gpt-5.5-stall3", Plan("", "gpt-5.5", faults=(Fault("stall", 3),))),
    ],
)
def test_a_name_sets_persona_pace_and_faults(name: str, expected: Plan) -> None:
    """Words of the grammar set the plan; all other words are the persona."""
    parsed = plan.parse(name)
    assert parsed == Plan(
        name,
        expected.persona,
        expected.ttft_s,
        expected.itl_s,
        expected.tokens,
        expected.retry_after_s,
        expected.faults,
    )


def test_faults_of_one_name_are_used_up_in_their_order() -> None:
    """A fault with a number strikes that many requests, then the next one is due."""
    parsed = plan.parse("main-err500x2-cut3x1")
    kinds = [fault.kind if (fault := parsed.fault(seen)) else None for seen in range(5)]
    assert kinds == ["err", "err", "cut", None, None]


def test_a_fault_without_a_number_never_ends() -> None:
    assert plan.parse("main-err503").fault(1000) == Fault("err", 503)


@pytest.mark.parametrize("word", ["ttft", "itl", "n", "err", "ra", "id", *("cut", "stall")])
def test_the_grammar_text_names_every_word(word: str) -> None:
    """People read the text, not the patterns: what one has the other has."""
    assert f"\n  {word}" in plan.GRAMMAR
