"""``make bench``: measure the gateway against direct calls to the same upstream.

``docs/performance.md`` explains the output.
"""

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks import cells, codec, registry, report, requests
from benchmarks.limits import LIMITS, Results
from benchmarks.program import CannotMeasure, build, loading, serving

CODEC = "codec"
REGISTRY = "registry"
NARROWEST = 100
BUSY_SHARE = 0.5
"""Above this load average, as a share of the cores, the figures are unreliable."""


def main() -> int:
    """Run the selected cells. Return 0 if all were measured, even if limits were missed, else 1."""
    names = (*cells.GROUPS, CODEC, REGISTRY)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "cells", nargs="*", metavar="CELL", help=f"Default: all. {', '.join(names)}"
    )
    parser.add_argument("--quick", action="store_true", help="One round of each cell.")
    options = parser.parse_args()
    if unknown := set(options.cells) - {*names}:
        parser.error(f"unknown cell {', '.join(sorted(unknown))}; known: {', '.join(names)}")
    console = Console(highlight=False)
    console.width = max(console.width, NARROWEST)
    try:
        return _measure(options.cells or names, console, quick=options.quick)
    except CannotMeasure as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _measure(names: list[str] | tuple[str, ...], console: Console, *, quick: bool) -> int:
    def show(line: str) -> None:
        console.print(line, style="dim", markup=False)

    cores, busy = os.cpu_count() or 1, os.getloadavg()[0]
    show(f"Python {platform.python_version()}, {cores} cores, load average {busy:.1f}")
    if busy > cores * BUSY_SHARE:
        console.print(
            "Other programs use this machine's CPU: the figures will be too high.", style="yellow"
        )
    registered = None
    if REGISTRY in names:
        show(f"Registering {registry.FLOWS} flows")
        registered = registry.measure()
    measured: dict[cells.Cell, cells.Measured] = {}
    with tempfile.TemporaryDirectory(prefix="polyvox-bench-") as name:
        folder = Path(name)
        show("Building the load generator")
        with loading(build(folder)) as load:
            microseconds = codec.measure(load) if CODEC in names else None
            milliseconds = requests.measure() if CODEC in names else None
            groups = [cells.GROUPS[name] for name in names if name in cells.GROUPS]
            idle = None
            if groups:
                show("Starting the gateway")
                with serving(folder, load.url, cells.VIRTUAL_MODELS, show) as program:
                    idle = cells.idle(load, program)
                    for group in groups:
                        for one in cells.measure(group, load, program, quick=quick, show=show):
                            measured[one.cell] = one
    results = Results(measured, idle, registered)
    console.print()
    if measured:
        console.print(report.figures_table(results))
    if microseconds is not None:
        console.print(report.codec_table(microseconds))
    if milliseconds is not None:
        console.print(report.requests_table(milliseconds))
    if registered is not None:
        console.print(report.registry_table(registered))
    if not measured and registered is None:
        return 0
    console.print(report.limits_table(results))
    verdicts = [limit.verdict(results) for limit in LIMITS]
    console.print(
        ", ".join(f"{verdicts.count(v)} {v}" for v in report.STYLES if v in verdicts) + "."
    )
    failures = [line for one in measured.values() for line in one.failures()]
    for line in failures:
        console.print(line, style="bold red", markup=False)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
