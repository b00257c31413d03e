"""Codex over the Responses front, on a direct model and on a fusion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.headless.codex import Codex
from tests.e2e.program import FLOWS, STEPS, Program

pytestmark = [
    pytest.mark.e2e,
    # The first test waits for the program, which has a limit of its own.
    pytest.mark.timeout(120, func_only=True),
    pytest.mark.parametrize("model", FLOWS),
]

LIMIT_S = 60.0


@pytest.fixture(params=[False, True], ids=["http", "websocket"])
def agent(program: Program, tmp_path: Path, request: pytest.FixtureRequest) -> Codex:
    return Codex(program.base_url, program.key, tmp_path / "home", websocket=request.param)


async def test_a_prompt_is_answered(
    agent: Codex, model: str, project: Path, new_runs: Callable[[], list[dict[str, Any]]]
) -> None:
    """One prompt is one completed run of the model's flow."""
    result = await agent.run("What is 17 + 25?", model=model, cwd=project, timeout_s=LIMIT_S)
    assert result.exit_code == 0, result
    assert "[simulated:main]" in result.text
    assert "42" in result.text
    (run,) = new_runs()
    assert (run["flow"], run["status"]) == (FLOWS[model], "completed")
    assert {call["step"] for call in run["calls"]} == STEPS[model]


async def test_a_tool_call_changes_a_file(
    agent: Codex, model: str, project: Path, new_runs: Callable[[], list[dict[str, Any]]]
) -> None:
    """The model's call reaches the agent whole, and the result comes back as a second run."""
    prompt = "Run the command `echo hi there > hello.txt`"
    result = await agent.run(prompt, model=model, cwd=project, timeout_s=LIMIT_S)
    assert result.exit_code == 0, result
    assert (project / "hello.txt").read_text("utf-8") == "hi there\n"
    runs = new_runs()
    assert [(run["flow"], run["status"]) for run in runs] == [(FLOWS[model], "completed")] * 2
    assert [run["finish"] for run in runs] == ["stop", "tool_calls"]


async def test_an_image_in_the_prompt_is_seen(
    agent: Codex,
    model: str,
    project: Path,
    picture: Path,
    new_runs: Callable[[], list[dict[str, Any]]],
) -> None:
    """The model gets the picture's own bytes: it knows size and colour."""
    result = await agent.run(
        "What does this image show?", model=model, cwd=project, image=picture, timeout_s=LIMIT_S
    )
    assert result.exit_code == 0, result
    assert "48x32" in result.text
    assert "red" in result.text
    assert {(run["flow"], run["status"]) for run in new_runs()} == {(FLOWS[model], "completed")}
