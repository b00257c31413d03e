"""One running program for all agents, and a working folder for each test."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.e2e.headless.agent import Agent
from tests.e2e.headless.claude_code import ClaudeCode
from tests.e2e.headless.codex import Codex
from tests.e2e.program import Program, running

AGENTS: dict[str, Callable[..., Agent]] = {
    "claude_code": ClaudeCode,
    "codex": Codex,
    "codex_websocket": partial(Codex, websocket=True),
}


@pytest.fixture(scope="session")
def program(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Program]:
    """The program, started once with the simulator as its only provider."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def show(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(text, end="", flush=True)

    with running(tmp_path_factory.mktemp("program"), show) as program:
        yield program


@pytest.fixture(params=AGENTS)
def agent(program: Program, tmp_path: Path, request: pytest.FixtureRequest) -> Agent:
    """An agent that is configured for the program, with its own home."""
    return AGENTS[request.param](program.base_url, program.key, tmp_path / "home")


@pytest.fixture
def new_runs(program: Program) -> Callable[[], list[dict[str, Any]]]:
    """Return the runs since the test began, oldest first, with their calls."""
    known = {run["run_id"] for run in program.get("/api/runs")["runs"]}

    def listed() -> list[dict[str, Any]]:
        found = [run["run_id"] for run in reversed(program.get("/api/runs")["runs"])]
        return [program.get(f"/api/runs/{run_id}") for run_id in found if run_id not in known]

    return listed


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A red PNG, 48 pixels wide and 32 high."""
    path = tmp_path / "picture.png"
    Image.new("RGB", (48, 32), "red").save(path)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty folder for an agent to work in."""
    path = tmp_path / "project"
    path.mkdir()
    return path
