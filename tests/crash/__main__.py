"""``python -m tests.crash``: kill each process at each point and print what survives.

``--only`` selects batches by words in ``deployment/victim/flow/point/client``, separated by commas;
a word with slashes must be found as a whole. Exits with 1 if a figure is missed.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.crash import cluster_deployment
from tests.crash.batch import run_batch
from tests.crash.cells import FLOWS, MODES, STORM, Batch, Cell, Flow, Mode, Point, cells_of
from tests.crash.deployments import missing
from tests.crash.judging import judge
from tests.crash.table import Row, as_json, print_head, print_rows, print_totals

MOST_CELLS = 40
"""The most cells that one kill meets: more would measure the load of two cores."""

VICTIMS: dict[str, tuple[str, ...]] = {
    "embedded": ("tree", "engine", "upstream"),
    "one replica": ("replica", "engine"),
    "replicas": ("replica", "engine", "postgres", "tree"),
    "split": ("gateway", "worker", "engine", "postgres", "tree"),
    "cluster": tuple(cluster_deployment.VICTIMS),
}
"""What dies in each deployment. Deployments whose program does not exist yet are skipped."""

STORMS: dict[str, tuple[str, ...]] = {
    "embedded": ("tree", "engine"),
    "one replica": ("replica",),
    "replicas": ("replica",),
    "split": ("gateway", "worker"),
    "cluster": (),
}
STORM_EVENTS = (1, 8)
"""A storm for each: the request, or the answer that was read, at which the victim is stopped."""

STORM_MODES: tuple[Mode, ...] = ("chat", "messages stream", "responses stream", "background")

FEW_MODES: tuple[Mode, ...] = (
    "chat",
    "messages stream",
    "responses stream",
    "background",
    "chat sdk",
)
"""The clients of deployments that differ from the embedded one in their processes only."""

UPSTREAM_POINTS: tuple[Point, ...] = ("started", "panel", "tool", "first", "mid", "late")
"""The points at which a provider has something to lose, and that need no frozen engine."""


def batches(only: list[str]) -> Iterator[Batch]:
    """Yield the batches whose cells match one of the words."""
    for deployment, victims in VICTIMS.items():
        for victim in victims:
            for flow in FLOWS:
                chosen = [
                    cell
                    for cell in _cells(deployment, flow, victim)
                    if _matches(f"{deployment}/{victim}/{flow}/{cell.point}/{cell.mode}", only)
                ]
                for cells in _parts(chosen):
                    yield Batch(deployment, victim, cells)
        for victim in STORMS[deployment]:
            for point in STORM:
                storm = [c for flow in FLOWS for c in cells_of(flow, (point,), STORM_MODES)]
                if _matches(f"{deployment}/{victim}/storm/{point}", only):
                    for number in STORM_EVENTS:
                        yield Batch(deployment, victim, tuple(storm), number)


def _cells(deployment: str, flow: Flow, victim: str) -> Iterator[Cell]:
    points = FLOWS[flow]
    if victim == "upstream" or deployment == "cluster":
        points = UPSTREAM_POINTS
    return cells_of(flow, points, MODES if deployment == "embedded" else FEW_MODES)


def _parts(cells: list[Cell]) -> Iterator[tuple[Cell, ...]]:
    """Divide cells into parts of about the same size, each with every point."""
    count = -(-len(cells) // MOST_CELLS)
    for start in range(count):
        yield tuple(cells[start::count])


def _matches(name: str, only: list[str]) -> bool:
    return not only or any(all(part in name for part in word.split("+")) for word in only)


def run(only: list[str], rounds: int, keep: Path | None) -> tuple[list[Row], dict[str, str]]:
    """Run the chosen batches; return the rows and why deployments were skipped."""
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    for number in range(1, rounds + 1):
        for batch in batches(only):
            if why := missing(batch.deployment, has_cluster=cluster_deployment.is_there()):
                skipped[batch.deployment] = why
                continue
            folder = Path(tempfile.mkdtemp(prefix="polyvox-crash-", dir=keep))
            began = time.monotonic()
            try:
                outcome = run_batch(batch, folder)
            except Exception:  # noqa: BLE001 - printed, and the other batches run
                print(f"\n{batch.name} failed:\n{traceback.format_exc()}", flush=True)
                skipped[batch.name] = "it failed, see above"
                continue
            finally:
                if keep is None:
                    shutil.rmtree(folder, ignore_errors=True)
            found = [Row(batch, number, verdict) for verdict in judge(outcome)]
            print(
                f"\n{batch.name}, {len(found)} cells, {time.monotonic() - began:.0f} s; "
                f"serves {outcome.ready_at - outcome.killed_at:.1f} s after the kill"
            )
            print_head()
            print_rows(found)
            rows += found
    return rows, skipped


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--only", default="", help="for example embedded/tree+direct,mid")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the matrix to this file")
    parser.add_argument("--keep", type=Path, help="keep all data and logs below this folder")
    given = parser.parse_args()
    # As for Ctrl-C, so that the processes of the matrix end too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    only = [word for word in given.only.split(",") if word]
    rows, skipped = run(only, given.rounds, given.keep)
    if given.json:
        given.json.write_text(json.dumps(as_json(rows, skipped), indent=1), "utf-8")
    if not rows:
        print("No cell matches.")
        return 1
    reached = print_totals(rows)
    for deployment, why in skipped.items():
        print(f"Not run: {deployment}: {why}.")
    return 0 if reached and not any("failed" in why for why in skipped.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
