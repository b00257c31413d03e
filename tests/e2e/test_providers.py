"""Both agents over providers of every protocol, and over providers that fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.headless.agent import Agent
from tests.e2e.headless.claude_code import ClaudeCode
from tests.e2e.headless.codex import Codex
from tests.e2e.program import Program

AGENTS: dict[str, type[ClaudeCode] | type[Codex]] = {"claude_code": ClaudeCode, "codex": Codex}
PROMPTS = {
    "claude_code": "Use the Write tool to create hello.txt containing exactly: hi there",
    "codex": "Run the command `echo hi there > hello.txt`",
}
PROVIDERS = ("simulator-chat", "simulator-responses", "simulator-messages")

pytestmark = [
    pytest.mark.e2e,
    # The first test waits for the program, which has a limit of its own.
    pytest.mark.timeout(120, func_only=True),
    pytest.mark.parametrize("client", AGENTS),
]

LIMIT_S = 60.0


@pytest.fixture
def agent(program: Program, client: str, tmp_path: Path) -> Agent:
    return AGENTS[client](program.base_url, program.key, tmp_path / "home")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_tool_call_and_an_image_cross_every_protocol(
    agent: Agent, client: str, provider: str, project: Path, picture: Path
) -> None:
    """Which protocol the provider speaks makes no difference to what the agent can do."""
    result = await agent.run(
        PROMPTS[client], model=f"{provider}:main", cwd=project, image=picture, timeout_s=LIMIT_S
    )
    assert result.exit_code == 0, result
    assert (project / "hello.txt").read_text("utf-8").strip() == "hi there"
    assert "48x32" in result.text


async def test_an_answer_cut_in_the_middle_is_asked_for_again(
    agent: Agent, client: str, project: Path, new_runs: Callable[[], list[dict[str, Any]]]
) -> None:
    """The agent sees that the stream failed, so that it does not take half an answer for one."""
    model = f"simulator:main-cut5x1-id{client}"
    result = await agent.run("What is 17 + 25?", model=model, cwd=project, timeout_s=LIMIT_S)
    assert result.exit_code == 0, result
    assert "42" in result.text
    again, cut = new_runs()
    assert (cut["status"], cut["error"]["kind"]) == ("failed", "stream_cut")
    assert again["status"] == "completed"


async def test_a_provider_s_refusal_is_shown_with_its_words_and_the_run(
    agent: Agent, project: Path, new_runs: Callable[[], list[dict[str, Any]]]
) -> None:
    """The user learns what the provider said, and which run tells the rest."""
    result = await agent.run(
        "Say hello.", model="simulator:main-err400", cwd=project, timeout_s=LIMIT_S
    )
    assert result.exit_code != 0
    newest = new_runs()[0]
    assert newest["error"]["message"] in result.stdout
    assert newest["run_id"] in result.stdout
