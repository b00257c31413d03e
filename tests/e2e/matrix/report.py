"""The matrix as a table and as a JSON document."""

import re
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from tests.e2e.headless.agent import CLIENTS, MORE_CLIENTS
from tests.e2e.matrix.rows import ABSENT, ROWS, SHOWS, Cell
from tests.e2e.matrix.scenario import IDLE_LIMIT_S, KEEP_ALIVE_S, SCENARIOS, SILENCE_S
from tests.e2e.matrix.verdict import Mark, Outcome, Verdict

SIGNS: dict[Mark, str] = {"passed": "✓", "shown": "✓e", "failed": "✗", "absent": "-"}

LEGEND = f"""\
✓ passed   ✓e ends with an error shown to the user, as expected   ✗ wrong   - not offered
idle: {SILENCE_S} s of silence, a keep-alive every {KEEP_ALIVE_S:g} s, the client's idle timeout \
{IDLE_LIMIT_S:g} s if it can be lowered
mended: a 429 and a 500, which the run retries   429, 500: three of them, so the client retries
cut: the provider's connection breaks in the middle of an answer"""


@dataclass(frozen=True, slots=True)
class Judged:
    """One cell and its outcome; ``runs`` holds the ids of its runs."""

    cell: Cell
    verdict: Verdict
    outcome: Outcome | None = None
    runs: tuple[str, ...] = ()


def table(judged: list[Judged]) -> str:
    """Return the table, the failures below it, then why cells are empty or errors expected."""
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    for one in judged:
        key = (one.cell.row.client, one.cell.row.protocol, one.cell.provider)
        lines.setdefault(key, {})[one.cell.scenario.name] = SIGNS[one.verdict.mark]
    columns = [s.name for s in SCENARIOS if any(s.name in signs for signs in lines.values())]
    rows = [("client", "protocol", "provider", *columns)]
    rows += [(*key, *(signs.get(c, "") for c in columns)) for key, signs in lines.items()]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    shown = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*shown, "", LEGEND, *_reasons(judged)])


def _reasons(judged: list[Judged]) -> list[str]:
    lines: list[str] = []
    for mark in ("failed", "absent", "shown"):
        # One line for all providers with the same reason.
        found: dict[tuple[str, str], list[str]] = {}
        for one in judged:
            cell = one.cell
            if one.verdict.mark == mark:
                place = f"{cell.row.client}, {cell.row.protocol}, {cell.scenario.name}"
                found.setdefault((place, one.verdict.reason), []).append(cell.provider)
        if found:
            lines.append("")
        for (place, reason), providers in found.items():
            lines.append(f"{SIGNS[mark]} {place} (over {', '.join(providers)}): {reason}")
    return lines


def document(judged: list[Judged], seconds: float) -> bytes:
    """Return all cells as JSON; a failed cell includes the output of its client."""
    return orjson.dumps(
        {
            "seconds": round(seconds, 1),
            "versions": versions(),
            "cells": [_cell(one) for one in judged],
        },
        option=orjson.OPT_INDENT_2,
    )


def _cell(one: Judged) -> dict[str, Any]:
    cell = one.cell
    shown: dict[str, Any] = {
        "client": cell.row.client,
        "front": cell.row.protocol,
        "provider": cell.provider,
        "scenario": cell.scenario.name,
        "model": cell.model,
        **asdict(one.verdict),
        "runs": one.runs,
    }
    if one.outcome is not None:
        shown["seconds"] = round(one.outcome.seconds, 1)
        if one.verdict.mark == "failed":
            shown["outcome"] = asdict(one.outcome)
    return shown


def clients() -> str:
    """Return the clients, their protocols and what they do not support as a Markdown table."""
    lines = ["| client | protocols | does not offer | after a fault |", "|---|---|---|---|"]
    names = list(dict.fromkeys(row.client for row in ROWS))
    for name in names:
        protocols = [row.protocol for row in ROWS if row.client == name]
        lacks = [
            f"{scenario}: {why}" for (client, scenario), why in ABSENT.items() if client == name
        ]
        shows: dict[str, list[str]] = {}
        for (client, _, scenario), why in SHOWS.items():
            if client == name and scenario not in (places := shows.setdefault(why, [])):
                places.append(scenario)
        ends = [f"{', '.join(places)}: {why}" for why, places in shows.items()]
        lines.append(f"| {name} | {', '.join(protocols)} | {' '.join(lacks)} | {' '.join(ends)} |")
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Return the pinned version of every client by the name of its package."""
    found: dict[str, str] = {}
    for folder in (CLIENTS, MORE_CLIENTS):
        found |= orjson.loads((folder / "package.json").read_bytes())["dependencies"]
    for path in sorted(MORE_CLIENTS.glob("*.in")):
        pins = re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", path.read_text("utf-8"), re.M)
        found |= {f"{name} (Python)": version for name, version in pins}
    return found
