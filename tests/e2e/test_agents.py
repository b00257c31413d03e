"""Both agents on a direct model and on a fusion: Claude Code, and Codex in its two transports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.headless.agent import Agent
from tests.e2e.program import FLOWS, STEPS

pytestmark = [
    pytest.mark.e2e,
    # The first test waits for the program, whose start has a time limit of its own.
    pytest.mark.timeout(120, func_only=True),
    pytest.mark.parametrize("model", FLOWS),
]

LIMIT_S = 60.0


async def test_a_prompt_is_answered(
    agent: Agent, model: str, project: Path, new_runs: Callable[[], list[dict[str, Any]]]
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
    agent: Agent, model: str, project: Path, new_runs: Callable[[], list[dict[str, Any]]]
) -> None:
    """The model's complete call reaches the agent, and the result arrives as a second run."""
    prompt = "Create hello.txt containing exactly: hi there"
    result = await agent.run(prompt, model=model, cwd=project, timeout_s=LIMIT_S)
    assert result.exit_code == 0, result
    assert (project / "hello.txt").read_text("utf-8") == "hi there"
    runs = new_runs()
    assert [(run["flow"], run["status"]) for run in runs] == [(FLOWS[model], "completed")] * 2
    assert [run["finish"] for run in runs] == ["tool_calls", "stop"]


async def test_an_image_in_the_prompt_is_seen(
    agent: Agent,
    model: str,
    project: Path,
    picture: Path,
    new_runs: Callable[[], list[dict[str, Any]]],
) -> None:
    """The model gets the unchanged bytes of the image: it reports size and colour."""
    result = await agent.run(
        "What does this image show?", model=model, cwd=project, image=picture, timeout_s=LIMIT_S
    )
    assert result.exit_code == 0, result
    assert "48x32" in result.text
    assert "red" in result.text
    assert {(run["flow"], run["status"]) for run in new_runs()} == {(FLOWS[model], "completed")}


async def test_an_image_a_tool_read_is_seen(
    agent: Agent, model: str, project: Path, picture: Path
) -> None:
    """The model gets an image inside a tool's result as an image."""
    result = await agent.run(f"Look at {picture}", model=model, cwd=project, timeout_s=LIMIT_S)
    assert result.exit_code == 0, result
    assert "48x32" in result.text
