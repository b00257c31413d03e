"""Lines a new user pastes: those `polyvox up` prints, and the steps of docs/first_flow.md."""

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.headless.agent import program as agent_program
from tests.e2e.headless.process import environment, run
from tests.e2e.program import EXECUTABLE, KEY, Program

pytestmark = [
    pytest.mark.e2e,
    # The first test waits for the program, whose start has a time limit of its own.
    pytest.mark.timeout(120, func_only=True),
]

LIMIT_S = 60.0

ASKED = "Should I cache or recompute?"

PAGE = (Path(__file__).parents[2] / "docs" / "first_flow.md").read_text("utf-8")

AGENTS = {
    "claude": "@anthropic-ai/claude-code-*/claude",
    "codex": "@openai/codex-*/vendor/*/bin/codex",
}


@pytest.fixture
def newcomer(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a shell in an empty home, with both agents on its path."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, pattern in AGENTS.items():
        (programs / name).symlink_to(agent_program(pattern))
    shell = environment(tmp_path / "home", {"DISABLE_AUTOUPDATER": "1", "POLYVOX_KEY": KEY})
    return {**shell, "PATH": f"{programs}:{shell['PATH']}"}


async def paste(line: str, shell: Mapping[str, str], cwd: Path) -> str:
    """Run ``line`` in a shell and return what it prints."""
    ended = await run(["sh", "-c", line], environment=shell, cwd=cwd, timeout_s=LIMIT_S)
    assert ended.exit_code == 0, ended
    return ended.stdout


@pytest.mark.parametrize(
    ("printed", "more", "says"),
    [
        ("curl ", "", "data: [DONE]"),
        # Without a terminal the agents need their prompt as an argument.
        ("ANTHROPIC_BASE_URL=", f" -p '{ASKED}'", "[simulated:main]"),
        ("codex ", f" exec --skip-git-repo-check '{ASKED}'", "[simulated:main]"),
    ],
    ids=["curl", "claude", "codex"],
)
async def test_a_printed_line_works_when_it_is_pasted(
    program: Program,
    newcomer: Mapping[str, str],
    project: Path,
    new_runs: Callable[[], list[dict[str, Any]]],
    printed: str,
    more: str,
    says: str,
) -> None:
    """The line needs only the key in POLYVOX_KEY; the panel answers."""
    lines = program.log.read_text("utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(printed)]
    answer = await paste(line + more, newcomer, project)
    assert says in answer
    (run,) = new_runs()
    assert (run["flow"], run["status"]) == ("fusion@1", "completed")


@pytest.mark.parametrize(
    ("instead", "says"),
    [
        (("simulated-fusion", "keyless:main"), "set NO_SUCH_KEY in the environment of the server"),
        (('AUTH_TOKEN="', 'AUTH_TOKEN="mistyped-'), "The key is unknown or was revoked."),
    ],
    ids=["the server lacks a key", "the user has a wrong one"],
)
async def test_what_is_wrong_with_a_key_is_told_at_once(
    program: Program,
    newcomer: Mapping[str, str],
    project: Path,
    instead: tuple[str, str],
    says: str,
) -> None:
    """Claude Code shows the error: it neither retries silently nor asks the user to log in."""
    lines = program.log.read_text("utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("ANTHROPIC_BASE_URL=")]
    line = f"{line.replace(*instead)} -p '{ASKED}'"
    ended = await run(["sh", "-c", line], environment=newcomer, cwd=project, timeout_s=LIMIT_S)
    assert ended.exit_code != 0
    assert says in ended.stdout


async def test_the_first_flow_answers_claude_code(
    program: Program,
    newcomer: Mapping[str, str],
    project: Path,
    new_runs: Callable[[], list[dict[str, Any]]],
) -> None:
    """The page's file, command and line work in this order; the agent's tool writes the file."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)
    (project / "two_heads.py").write_text(code, "utf-8")
    (register,) = re.findall(r"^polyvox (register .*)$", PAGE, re.M)
    data = shlex.quote(str(program.data))
    await paste(f"{EXECUTABLE} {register} --data {data}", newcomer, project)
    (line,) = re.findall(r"^ANTHROPIC_BASE_URL=.*$", PAGE, re.M)
    line = line.replace("http://127.0.0.1:8484", program.base_url).replace("YOUR_KEY", program.key)
    wish = shlex.quote(re.findall(r"^Create .*$", PAGE, re.M)[0])
    await paste(f"{line} --allowedTools Write -p {wish}", newcomer, project)
    assert (project / "hello.txt").read_text("utf-8") == "hi there"
    assert [[call["step"] for call in run["calls"]] for run in new_runs()] == [
        ["doubts", "answer"],
        ["answer"],
    ]
