"""The matrix as a table and as JSON, and its figures against the wanted ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.crash.cells import Batch
from tests.crash.judging import FAULTS, Verdict

GOING_ON_S = 10.0
"""The time after which work must go on: after the kill, or after everything serves again if
everything was killed."""


@dataclass(frozen=True, slots=True)
class Row:
    """A cell's verdict with the batch it was part of."""

    batch: Batch
    round: int
    verdict: Verdict

    @property
    def going_on_s(self) -> float | None:
        """The time that the figure is about."""
        if self.batch.victim in ("tree", "engine", "postgres", "upstream"):
            return self.verdict.after_ready_s
        return self.verdict.going_on_s

    @property
    def is_slow(self) -> bool:
        # A run whose client is gone waits for its retry on purpose, and is cancelled then.
        waited = "cancelled" in self.verdict.runs
        return not waited and self.going_on_s is not None and self.going_on_s > GOING_ON_S


def print_head() -> None:
    print(
        f"{'flow':8} {'point':10} {'client':18} {'kill':>5} {'ready':>5}  client saw; runs; faults"
    )


def print_rows(rows: Iterable[Row]) -> None:
    for row in rows:
        verdict, cell = row.verdict, row.verdict.cell
        faults = ", ".join(f"{name} {count}" for name, count in verdict.faults.items())
        if row.is_slow:
            faults = f"{faults}, slow" if faults else "slow"
        print(
            f"{cell.flow:8} {cell.point:10} {cell.mode:18} {_seconds(verdict.going_on_s)} "
            f"{_seconds(verdict.after_ready_s)}  {verdict.client or 'waits'}; {verdict.runs}"
            f"{f'; {faults.upper()}' if faults else ''}",
            flush=True,
        )


def print_totals(rows: Sequence[Row]) -> bool:
    """Print the figures for each victim; return whether all are reached."""
    victims = list(dict.fromkeys((row.batch.deployment, row.batch.victim) for row in rows))
    names = [f"{deployment}/{victim}" for deployment, victim in victims]
    width = max(14, *(len(name) for name in names)) + 1
    print("\n" + " " * 74 + "".join(f"{name:>{width}}" for name in names) + f"{'all':>{width}}")
    groups = [
        [row for row in rows if (row.batch.deployment, row.batch.victim) == victim]
        for victim in victims
    ]
    groups.append(list(rows))

    def line(text: str, values: Iterable[object]) -> None:
        print(f"{text:74}" + "".join(f"{value!s:>{width}}" for value in values))

    line("cells", (len(group) for group in groups))
    line("clients with a complete answer", (_complete(group) for group in groups))
    for name, text in FAULTS.items():
        line(f"{text} (0)", (sum(getattr(r.verdict, name) for r in g) for g in groups))
    line(
        "calls asked again whose whole answer was sent, but perhaps not read",
        (sum(row.verdict.rebought for row in group) for group in groups),
    )
    line("seconds until work goes on, median", (_quantile(group, 0.5) for group in groups))
    line(f"seconds until work goes on, slowest ({GOING_ON_S:g})", (_quantile(g, 1) for g in groups))
    return not any(row.verdict.faults or row.is_slow for row in rows)


def as_json(rows: Iterable[Row], skipped: dict[str, str]) -> dict[str, Any]:
    """Return the whole matrix as a document."""
    return {
        "skipped": skipped,
        "cells": [
            {
                "deployment": row.batch.deployment,
                "victim": row.batch.victim,
                "round": row.round,
                "flow": row.verdict.cell.flow,
                "point": row.verdict.cell.point,
                "client": row.verdict.cell.mode,
                "going_on_s": row.verdict.going_on_s,
                "after_ready_s": row.verdict.after_ready_s,
                "saw": row.verdict.client,
                "runs": row.verdict.runs,
                "faults": row.verdict.faults,
            }
            for row in rows
        ],
    }


def _complete(rows: Sequence[Row]) -> str:
    complete = sum(
        row.verdict.client == "complete" or row.verdict.client.endswith("then completed")
        for row in rows
    )
    return f"{complete}/{len(rows)}"


def _seconds(value: float | None) -> str:
    return f"{value:5.1f}" if value is not None else "    -"


def _quantile(rows: Sequence[Row], part: float) -> str:
    times = sorted(row.going_on_s for row in rows if row.going_on_s is not None)
    return f"{times[min(len(times) - 1, int(part * len(times)))]:.1f}" if times else "-"
