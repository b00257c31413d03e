"""What is said of wrong parameters: the path of each, and nothing that only follows from it."""

from importlib.resources import files

import pytest
from pydantic import field_validator

from polyvox.activities.registry.parameters import mistakes
from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import Params
from polyvox.workflows.source.bundle import load_bundle


def params_of(name: str) -> type[Params]:
    """Return the parameters of a flow that ships."""
    source = files("polyvox.workflows.templates").joinpath(f"{name}.py").read_text("utf-8")
    return load_bundle(source, f"{name}.py").params


FUSION = params_of("fusion")
ROUTER = params_of("router")
MODELS: dict[str, Json] = {"main": "x:main", "judge": "x:judge"}


@pytest.mark.parametrize(
    ("panel", "says"),
    [
        ([], "params.panel: Tuple should have at least 1 item after validation"),
        (["main"], "params.panel.0: must be provider:model, such as simulator:main, not 'main'."),
        (["x:a", 3], "params.panel.1: "),
        ([{"model": "x:a", "samples": 9}], "params.panel.0.samples: Input should be less than"),
        ([{"modell": "x:a"}], "params.panel.0.model: is missing."),
        ([{"model": "x:a", "wit": 1}], "panel.0.wit: is not known. Known: model, persona, samp"),
        ([{"model": "x:a", "samples": 8}, "x:b"], "params: the panel has 9 voices, at most 8."),
    ],
    ids=str,
)
def test_a_wrong_voice_is_named_by_its_place_in_the_document(panel: Json, says: str) -> None:
    """An entry is a model or a table; what it was not meant to be is not complained about."""
    found = mistakes(FUSION, {**MODELS, "panel": panel})
    assert any(says in mistake for mistake in found), found
    assert len(found) <= 2
    assert not any("Voice" in mistake.partition(": ")[0] for mistake in found)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"matches": "("}, "params.rules.0.matches: '(' is not a regular expression"),
        ({"header": {"x-polyvox-a": "("}}, "params.rules.0.header: '(' is not a regular"),
        ({"header": {"Authorization": "x"}}, "flows cannot read 'Authorization', only x-polyvox-"),
        (
            {"language": "klingon"},
            "params.rules.0.language: 'klingon' cannot be detected, only ar,",
        ),
        ({"left_below_usd": 1}, "params: a rule has left_below_usd, which requires budget_usd."),
    ],
    ids=str,
)
def test_a_rule_that_could_never_hold_is_refused(rule: dict[str, Json], says: str) -> None:
    """When it is set, and not by every request."""
    (found,) = mistakes(ROUTER, {"default": "x:a", "rules": [{"model": "x:b", **rule}]})
    assert says in found


def test_a_check_of_the_flows_own_may_raise_anything() -> None:
    """It is somebody's program; the command that asks must not break."""

    class Odd(Params):
        word: str = ""

        @field_validator("word")
        @classmethod
        def _odd(cls, word: str) -> str:
            raise KeyError(word)

    found = mistakes(Odd, {"word": "x"})
    assert found == ["params: the flow's validator raised KeyError: 'x'"]
