"""Run clients: an agent is one process for each cell, a library one for all its cells."""

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from PIL import Image

from tests.e2e.headless.agent import json_lines
from tests.e2e.headless.process import Ended, Stuck, environment, run
from tests.e2e.matrix.rows import AgentRow, Cell, LibraryRow
from tests.e2e.matrix.scenario import IDLE_LIMIT_S
from tests.e2e.matrix.verdict import Outcome
from tests.e2e.program import Program

AGENT_LIMIT_S = 120.0
LIBRARY_LIMIT_S = 240.0
LONGEST_TOLD = 40_000
"""How many characters of a library's output the document keeps: enough for a stack report."""

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Asking:
    """Send requests to ``program``; every client gets a home and a project below ``folder``."""

    program: Program
    folder: Path

    async def ask_agent(self, row: AgentRow, cell: Cell) -> Outcome:
        folder = self.folder / cell.id
        project = folder / "project"
        project.mkdir(parents=True)
        limit = {"idle_limit_s": IDLE_LIMIT_S} if row.lowers_idle_limit else {}
        options = {"protocol": row.protocol, **(limit if cell.scenario.idle else {})}
        agent = row.make(self.program.base_url, self.program.key, folder / "home", **options)
        began = time.monotonic()
        try:
            ended = await agent.run(
                cell.scenario.prompt,
                model=cell.model,
                cwd=project,
                image=self._picture(folder) if cell.scenario.image else None,
                timeout_s=AGENT_LIMIT_S,
            )
        except Stuck as stuck:
            return Outcome(stuck=str(stuck), seconds=time.monotonic() - began)
        written = project / "hello.txt"
        return Outcome(
            text=ended.text,
            shown=f"{ended.stdout}\n{ended.stderr}",
            failed=ended.exit_code != 0,
            written=written.read_text("utf-8") if written.exists() else None,
            seconds=time.monotonic() - began,
        )

    async def ask_library(self, row: LibraryRow, cells: Sequence[Cell]) -> list[Outcome]:
        folder = self.folder / cells[0].id
        image = base64.b64encode(self._picture(folder).read_bytes()).decode()
        tasks = [_task(cell, image) for cell in cells]
        settings = {"PYTHONDONTWRITEBYTECODE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        began = time.monotonic()
        try:
            ended = await run(
                [*row.command(), self.program.base_url, self.program.key, *row.more],
                environment=environment(folder / "home", settings),
                cwd=ROOT,
                stdin=orjson.dumps(tasks),
                timeout_s=LIBRARY_LIMIT_S,
            )
        except Stuck as stuck:
            ended = stuck.ended
        answers = {answer["id"]: answer for answer in json_lines(ended.stdout)}
        seconds = (time.monotonic() - began) / len(cells)
        return [_outcome(answers.get(cell.id), ended, seconds) for cell in cells]

    def _picture(self, folder: Path) -> Path:
        path = folder / "picture.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 32), "red").save(path)
        return path


def _outcome(answer: dict[str, Any] | None, ended: Ended, seconds: float) -> Outcome:
    if answer is None:
        return Outcome(stuck=f"it gave no answer: {ended.stderr[-LONGEST_TOLD:]}", seconds=seconds)
    error = answer["error"]
    return Outcome(answer["text"], error or "", failed=error is not None, seconds=seconds)


def _task(cell: Cell, image: str) -> dict[str, object]:
    """Return the cell as a JSON object of ``tests.e2e.libraries.asking.Task``."""
    scenario = cell.scenario
    return {
        "id": cell.id,
        "protocol": cell.row.protocol,
        "model": cell.model,
        "prompt": scenario.library_prompt,
        "image": image if scenario.image else None,
        "tool": scenario.tool,
        "stream": scenario.stream,
        "idle_limit_s": IDLE_LIMIT_S if scenario.idle else None,
    }
