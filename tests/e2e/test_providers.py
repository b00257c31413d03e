"""Both agents over providers of every protocol, and over providers that fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.headless.agent import Agent

PROVIDERS = ("simulator-chat", "simulator-responses", "simulator-messages")

pytestmark = [
    pytest.mark.e2e,
    # The first test waits for the program, whose start has a time limit of its own.
    pytest.mark.timeout(120, func_only=True),
    pytest.mark.parametrize("agent", ["claude_code", "codex"], indirect=True),
]

LIMIT_S = 60.0


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_tool_call_and_an_image_cross_every_protocol(
    agent: Agent, provider: str, project: Path, picture: Path
) -> None:
    """The agent works the same with a provider of any protocol."""
    prompt = "Create hello.txt containing exactly: hi there"
    result = await agent.run(
        prompt, model=f"{provider}:main", cwd=project, image=picture, timeout_s=LIMIT_S
    )
    assert result.exit_code == 0, result
    assert (project / "hello.txt").read_text("utf-8") == "hi there"
    assert "48x32" in result.text


async def test_an_answer_cut_in_the_middle_is_asked_for_again(
    agent: Agent, project: Path, new_runs: Callable[[], list[dict[str, Any]]]
) -> None:
    """The agent sees that the stream failed, so it does not treat half an answer as complete."""
    model = f"simulator:main-itl50-cut5x1-id{type(agent).__name__}"
    result = await agent.run("What is 17 + 25?", model=model, cwd=project, timeout_s=LIMIT_S)
    assert result.exit_code == 0, result
    assert "42" in result.text
    cut, again = new_runs()
    assert (cut["status"], cut["error"]["kind"]) == ("failed", "stream_cut")
    assert again["status"] == "completed"


async def test_a_provider_s_refusal_is_shown_with_its_words_and_the_run(
    agent: Agent, project: Path, new_runs: Callable[[], list[dict[str, Any]]]
) -> None:
    """The user sees the provider's message and the id of the run."""
    result = await agent.run(
        "Say hello.", model="simulator:main-err400", cwd=project, timeout_s=LIMIT_S
    )
    assert result.exit_code != 0
    newest = new_runs()[-1]
    assert newest["error"]["message"] in result.stdout
    assert newest["run_id"] in result.stdout


async def test_a_flow_s_error_is_shown_and_not_bought_again(
    agent: Agent, project: Path, new_runs: Callable[[], list[dict[str, Any]]]
) -> None:
    """A second run would cost the same and fail in the same way."""
    result = await agent.run("Say hello.", model="out-of-calls", cwd=project, timeout_s=LIMIT_S)
    assert result.exit_code != 0
    (run,) = new_runs()
    assert run["error"]["kind"] == "flow_error"
    assert run["error"]["message"] in result.stdout
