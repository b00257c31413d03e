"""``python -m benchmarks.registry``: what many registered flows cost in memory and in time.

100 flows with 10 versions each, all of the size of ``fusion`` with its prompts. Prints what a
server pays for them: resident memory with the catalog read and, worse than any server has it, with
as many versions loaded as are kept; the time to resolve a model's name, and to notice a change.
"""

import gc
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from polyvox.activities.registry import DIRECT, Registry
from polyvox.activities.tables import file_url, open_database
from polyvox.activities.virtual_models import Wanted
from polyvox.workflows.bundle import load_bundle

FLOWS, VERSIONS = 100, 10
LIMIT_MIB = 100


def main() -> None:
    template = files("polyvox.workflows.templates").joinpath("fusion.py").read_text("utf-8")
    direct = files("polyvox.workflows.templates").joinpath("direct.py").read_text("utf-8")
    load_bundle(template, "fusion.py")
    with tempfile.TemporaryDirectory() as folder:
        url = file_url(Path(folder) / "registry.db")
        # In a process of its own, whose memory is not this one's to use again.
        filling = multiprocessing.get_context("spawn").Process(
            target=fill, args=(url, template, direct)
        )
        filling.start()
        filling.join()
        gc.collect()
        before = resident_mib()
        registry = Registry(open_database(url))
        told("reading the catalog", once(registry.flows))
        told("resolving a model", each(lambda: registry.resolve("model-50", {})))
        change = Wanted(f"{DIRECT}@1", {"model": "simulator:other"})
        registry.change({"model-50": change})
        told("noticing a change", once(lambda: registry.resolve("model-50", {})))
        told("listing all models", once(registry.models))
        gc.collect()
        print(f"memory for {FLOWS * VERSIONS} versions: {resident_mib() - before:.0f} MiB")
        digests = [version.digest for version in registry.flows()]
        told("loading one version", each(lambda: registry.load(digests.pop()), len(digests)))
        gc.collect()
        loaded = resident_mib() - before
        print(f"memory with the most versions loaded: {loaded:.0f} MiB (limit {LIMIT_MIB})")


def fill(url: str, template: str, direct: str) -> None:
    registry = Registry(open_database(url))
    registry.register(direct, "direct.py")
    for flow in range(FLOWS):
        for version in range(VERSIONS):
            name = f"flow_{flow}"
            source = template.replace("async def fusion(", f"async def {name}(")
            registry.register(f"{source}\n# version {version}\n", f"{name}.py")
    wanted = Wanted(DIRECT, {"model": "simulator:main"})
    registry.change({f"model-{number}": wanted for number in range(FLOWS)})


def resident_mib() -> float:
    """Resident memory now (Linux), else at its most."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def once(work: Callable[[], object]) -> list[float]:
    began = time.perf_counter()
    work()
    return [time.perf_counter() - began]


def each(work: Callable[[], object], times: int = 1000) -> list[float]:
    return [once(work)[0] for _ in range(times)]


def told(what: str, seconds: list[float]) -> None:
    shown = statistics.median(seconds) * 1e6
    print(f"{what}: {shown:,.0f} µs" + (" (median)" if len(seconds) > 1 else ""))


if __name__ == "__main__":
    main()
