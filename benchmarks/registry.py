"""Measure what many registered flows cost in memory and in the time of a request.

There are 100 flows with 10 versions each, all of the size of ``fusion`` with its prompts. Measured
in a separate process: the resident memory with the catalog read, and with as many versions loaded
as are cached (the worst case); and the time to find a model, the only thing a request needs from
the registry, compared to a registry with one flow.
"""

import gc
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from multiprocessing.connection import Connection
from pathlib import Path

from polyvox.activities.registry.registry import DIRECT, Registry
from polyvox.activities.registry.virtual_models import ModelSpec
from polyvox.activities.storage.database import file_url, open_database
from polyvox.workflows.source.bundle import load_bundle

FLOWS, VERSIONS = 100, 10
TIMES = 1000


@dataclass(frozen=True, slots=True)
class Registered:
    """Memory in MB (10^6 bytes) with the catalog read, and with versions loaded; times in ms."""

    catalog_mb: float
    loaded_mb: float
    find_ms: float
    added_ms: float
    read_ms: float


def measure() -> Registered:
    """Fill a registry in one process, and measure it in another."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        filling = spawn.Process(target=_fill, args=(folder,))
        filling.start()
        filling.join()
        here, there = spawn.Pipe()
        measuring = spawn.Process(target=_measure, args=(folder, there))
        measuring.start()
        registered: Registered = here.recv()
        measuring.join()
    return registered


def _fill(folder: str) -> None:
    template, direct = _template("fusion"), _template("direct")
    small, full = _open(folder, "small"), _open(folder, "full")
    for registry in (small, full):
        registry.register(direct, "direct.py")
    for flow in range(FLOWS):
        for version in range(VERSIONS):
            name = f"flow_{flow}"
            source = template.replace("async def fusion(", f"async def {name}(")
            full.register(f"{source}\n# version {version}\n", f"{name}.py")
    wanted = ModelSpec(DIRECT, {"model": "simulator:main"})
    small.change({"model-50": wanted})
    full.change({f"model-{number}": wanted for number in range(FLOWS)})


def _measure(folder: str, told: Connection) -> None:
    # Every server loads this module anyway, so it is not counted as memory of registered flows.
    load_bundle(_template("fusion"), "fusion.py")
    small = _open(folder, "small")
    find_small_ms = _each(lambda: small.resolve("model-50", {}))
    gc.collect()
    before = _resident_mb()
    full = _open(folder, "full")
    read_ms = _once(full.flows)
    find_ms = _each(lambda: full.resolve("model-50", {}))
    gc.collect()
    catalog_mb = _resident_mb() - before
    for version in full.flows():
        full.load(version.digest)
    gc.collect()
    loaded_mb = _resident_mb() - before
    told.send(Registered(catalog_mb, loaded_mb, find_ms, find_ms - find_small_ms, read_ms))


def _open(folder: str, name: str) -> Registry:
    return Registry(open_database(file_url(Path(folder) / f"{name}.db")))


def _template(name: str) -> str:
    return files("polyvox.workflows.templates").joinpath(f"{name}.py").read_text("utf-8")


def _resident_mb() -> float:
    """Return the current resident memory in MB (Linux), elsewhere its maximum."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _once(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def _each(work: Callable[[], object]) -> float:
    return statistics.median(_once(work) for _ in range(TIMES))
