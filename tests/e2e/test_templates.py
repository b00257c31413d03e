"""Every shipped flow, used by a real agent that changes a file with its own tools."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.e2e.headless.agent import Agent

CREATE = "Create hello.txt containing exactly: hi there"

LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Driven:
    """``steps`` are those of each run of the turn, as "step of model", sorted.

    ``written`` must be in the file that the agent leaves, ``said`` in its last message.
    """

    flow: str
    prompt: str
    steps: tuple[list[str], ...]
    said: str
    written: str = "^hi there$"


DRIVEN = [
    Driven(  # the panel is asked once, and not again when the tool's result comes
        "fusion",
        CREATE,
        (
            [
                "branch 1 of optimist",
                "branch 2 of skeptic",
                "branch 3 of engineer",
                "main of main",
                "synthesis of judge",
            ],
            ["main of main"],
        ),
        said=r"^\[simulated:main\] ",
    ),
    Driven(  # the picture comes from the agent's tool, and the main model reads what the eye saw
        "vision",
        "Look at PICTURE and write what it shows to hello.txt",
        (["main of main"], ["describe of eye", "main of main"], ["main of main"]),
        said=r"48x32",
        written=r"^\[image \w+: \[simulated:eye\] [^]]*PNG image of 48x32 pixels, \w+ \(100 %\)",
    ),
    Driven(  # the first model of the chain declines, before the agent has seen anything
        "router",
        CREATE,
        (["answer of deputy", "answer of hand-refuse"],) * 2,
        said=r"^\[simulated:deputy\] ",
    ),
    Driven(  # first a call without arguments, then a wrong sum: the agent gets neither
        "verify",
        CREATE,
        (
            ["answer of main-slip1", "repair of main-slip1"],
            [
                "answer of main-slip1",
                "repair of main-slip1",
                "verify of verifier",
                "verify of verifier",
            ],
        ),
        said=r"^\[simulated:main\] (?!.*2 \+ 2 = 5)",
    ),
    Driven(  # calls are passed through; code fails its test in the sandbox and is fixed
        "patch",
        f"{CREATE}. Then write the function add in solution.py",
        (
            ["code of main-bug1"],
            ["code of main-bug1", "repair of main-bug1", "review of reviewer"],
        ),
        said=r"```python solution\.py\ndef add\(a, b\):\n    return a \+ b\n```",
    ),
    Driven(  # the worker's question is hidden from the agent and known to it in the next run
        "consult",
        "Ask the expert how to greet, and create hello.txt containing exactly: hi there",
        (["expert of sage", "worker of main", "worker of main"], ["worker of main"]),
        said=r"ask_expert returned: \[simulated:sage\] ",
    ),
]

pytestmark = [
    pytest.mark.e2e,
    # The first test waits for the program, whose start has a time limit of its own.
    pytest.mark.timeout(120, func_only=True),
    pytest.mark.parametrize("agent", ["claude_code", "codex"], indirect=True),
]


@pytest.mark.parametrize("driven", DRIVEN, ids=lambda driven: driven.flow)
async def test_a_flow_works_behind_an_agent(
    agent: Agent,
    driven: Driven,
    project: Path,
    picture: Path,
    new_runs: Callable[[], list[dict[str, Any]]],
) -> None:
    """The flow does its own work in every run, and the agent's tool changes the file."""
    if driven.flow == "patch" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed: patch runs no code without it")
    prompt = driven.prompt.replace("PICTURE", str(picture))
    result = await agent.run(
        prompt, model=f"simulated-{driven.flow}", cwd=project, timeout_s=LIMIT_S
    )
    assert result.exit_code == 0, result
    assert re.search(driven.written, (project / "hello.txt").read_text("utf-8"), re.S)
    assert re.search(driven.said, result.text, re.S), result.text
    runs = new_runs()
    assert [(run["flow"], run["status"]) for run in runs] == [
        (f"{driven.flow}@1", "completed")
    ] * len(driven.steps)
    assert tuple(steps_of(run) for run in runs) == driven.steps


@pytest.fixture
def picture(picture: Path) -> Path:
    """Return an image that no other test uses, because the eye describes each image only once."""
    Image.new("RGB", (48, 32), tuple(os.urandom(3))).save(picture)
    return picture


def steps_of(run: dict[str, Any]) -> list[str]:
    """Return "step of model" for every call, sorted; which image was described is left out."""
    named = [re.sub("^describe .*", "describe", call["step"]) for call in run["calls"]]
    return sorted(
        f"{step} of {call['model']}" for step, call in zip(named, run["calls"], strict=True)
    )
