"""Run real clients against a running server: ``python -m tests.e2e.matrix``."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.e2e.matrix.asking import Asking
from tests.e2e.matrix.report import SIGNS, Judged, document, table
from tests.e2e.matrix.rows import AgentRow, Cell, LibraryRow, cells
from tests.e2e.matrix.scenario import KEEP_ALIVE_S
from tests.e2e.matrix.verdict import Outcome, Verdict, judge
from tests.e2e.program import Program, running

AT_ONCE = 3
"""How many clients run at once. More would exceed the agents' own timeouts on two cores."""

RECORDED_LIMIT_S = 15.0


def config(asked: list[Cell]) -> str:
    """Return a ``polyvox.toml`` that declares the aliases of ``asked``."""
    models = [
        f'[models."{cell.model}"]\nflow = "direct"\nparams = {{ model = "{cell.upstream}" }}\n'
        for cell in asked
        if cell.row.alias
    ]
    return "\n".join([f"[server]\nkeep_alive_s = {KEEP_ALIVE_S}\n", *models])


@dataclass(slots=True)
class Matrix:
    """Run ``cells`` and judge each one as soon as its client has ended."""

    program: Program
    asking: Asking
    cells: list[Cell]
    _judged: dict[str, Judged] = field(default_factory=dict)

    async def fill(self) -> list[Judged]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def in_turn(job: Coroutine[Any, Any, None]) -> None:
            async with slots:
                await job

        await asyncio.gather(*(in_turn(job) for job in self._jobs()))
        return [self._judged[cell.id] for cell in self.cells]

    def _jobs(self) -> Iterator[Coroutine[Any, Any, None]]:
        libraries: dict[str, tuple[LibraryRow, list[Cell]]] = {}
        for cell in self.cells:
            if cell.absent:
                self._note(Judged(cell, Verdict("absent", cell.absent)))
            elif isinstance(cell.row, AgentRow):
                yield self._ask_agent(cell.row, cell)
            else:
                name = f"{cell.row.client}/{cell.row.protocol}"
                libraries.setdefault(name, (cell.row, []))[1].append(cell)
        for row, of_row in libraries.values():
            yield self._ask_library(row, of_row)

    async def _ask_agent(self, row: AgentRow, cell: Cell) -> None:
        await self._judge(cell, await self.asking.ask_agent(row, cell))

    async def _ask_library(self, row: LibraryRow, of_row: list[Cell]) -> None:
        for cell, outcome in zip(of_row, await self.asking.ask_library(row, of_row), strict=True):
            await self._judge(cell, outcome)

    async def _judge(self, cell: Cell, outcome: Outcome) -> None:
        runs = await self._runs(cell)
        verdict = judge(cell, outcome, runs)
        self._note(Judged(cell, verdict, outcome, tuple(run["run_id"] for run in runs)))

    async def _runs(self, cell: Cell) -> list[dict[str, Any]]:
        """Return the cell's runs, oldest first, once none is still running."""
        deadline = time.monotonic() + RECORDED_LIMIT_S
        while True:
            listed = await asyncio.to_thread(
                self.program.get, f"/api/runs?model={quote(cell.model)}"
            )
            runs = sorted(listed["runs"], key=lambda run: str(run["run_id"]))
            if all(run["status"] != "running" for run in runs) or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        paths = [f"/api/runs/{run['run_id']}" for run in runs]
        return [await asyncio.to_thread(self.program.get, path) for path in paths]

    def _note(self, judged: Judged) -> None:
        self._judged[judged.cell.id] = judged
        if judged.outcome is not None:
            cell, sign = judged.cell, SIGNS[judged.verdict.mark]
            place = f"{cell.row.client}, {cell.row.protocol} over {cell.provider}"
            line = f"{sign:2} {place}: {cell.scenario.name}  {judged.outcome.seconds:.1f} s"
            print(line, judged.verdict.reason if sign == "✗" else "", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.matrix", description=__doc__)
    parser.add_argument("--only", default="", help="clients, or client/protocol: codex,cline/chat")
    parser.add_argument("--scenarios", default="", help="columns: plain,tool")
    parser.add_argument("--json", type=Path, default=Path("build/clients.json"), metavar="FILE")
    chosen = parser.parse_args()
    asked = cells(chosen.only, chosen.scenarios)
    if not asked:
        parser.error(f"no client matches {chosen.only!r}, or no column {chosen.scenarios!r}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="polyvox-matrix-") as name:
        folder = Path(name)
        with running(
            folder, lambda text: print(text, end="", flush=True), config(asked)
        ) as program:
            judged = asyncio.run(Matrix(program, Asking(program, folder), asked).fill())
    seconds = time.monotonic() - began
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_bytes(document(judged, seconds))
    wrong = sum(one.verdict.mark == "failed" for one in judged)
    print(
        f"\n{table(judged)}\n\n{len(judged)} cells, {wrong} wrong, {seconds:.0f} s, {chosen.json}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
