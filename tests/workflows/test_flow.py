"""Flows declared and loaded from their source."""

import pytest

from polyvox.workflows.flow import FlowError, load_flow

HEAD = "from polyvox.workflows import Model, Params, Reply, Run, flow\n"
PARAMS = "class P(Params):\n    word: str = 'x'\n"
FLOW = '@flow\nasync def echo(run: Run[P]) -> Reply:\n    """Echo.\n\n    More."""\n'


def test_a_flow_is_loaded_with_name_parameters_and_description() -> None:
    """The name is the function's, the description its docstring."""
    flow = load_flow(HEAD + PARAMS + FLOW, "echo.py")
    assert flow.name == "echo"
    assert flow.description.startswith("Echo.")
    assert list(flow.params.model_fields) == ["word"]
    assert not flow.needs_params


def test_each_load_is_a_module_of_its_own() -> None:
    """Two versions in one process share nothing."""
    one, two = (load_flow(HEAD + PARAMS + FLOW, f"echo.py (echo@{n})") for n in (1, 2))
    assert one.params is not two.params


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (PARAMS, "found: none"),
        (PARAMS + FLOW + FLOW.replace("echo", "other"), "found: echo, other"),
        (PARAMS + FLOW.replace("async ", ""), "'async def'"),
        (PARAMS + FLOW.replace("run: Run[P]", "run"), "run: Run[YourParams]"),
        (PARAMS + FLOW.replace("run: Run[P]", ""), "exactly one argument"),
        (PARAMS + FLOW.replace("Run[P]", "Run[int]"), "derives from"),
    ],
)
def test_what_is_no_flow_is_refused_with_what_to_do(source: str, says: str) -> None:
    """FlowError, in words that tell how a flow is declared."""
    with pytest.raises(FlowError) as caught:
        load_flow(HEAD + source, "bad.py")
    assert says in str(caught.value)
