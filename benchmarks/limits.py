"""The limits on the gateway's speed, and whether measured cells meet them.

Each difference is the gateway's figure minus that of the adjacent direct round.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.cells import (
    FUSION_1,
    FUSION_CHAIN,
    PROMPT_LARGE,
    PROMPT_SMALL,
    STREAM_1,
    STREAM_50,
    WHOLE_1,
    Cell,
    Measured,
)
from benchmarks.processes import Usage
from benchmarks.program import Figures
from benchmarks.registry import FLOWS, VERSIONS, Registered

Verdict = Literal["met", "missed", "not measured"]


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a benchmark: the cells, the idle program, a full registry."""

    cells: Mapping[Cell, Measured]
    idle: Usage | None
    registered: Registered | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit. ``value`` is None if the results do not contain it; ``bound`` itself is allowed."""

    what: str
    unit: str
    bound: float
    value: Callable[[Results], float | None]
    at_least: bool = False

    def verdict(self, results: Results) -> Verdict:
        value = self.value(results)
        if value is None:
            return "not measured"
        kept = value >= self.bound if self.at_least else value <= self.bound
        return "met" if kept else "missed"


def difference(measured: Measured, figure: Callable[[Figures], float | None]) -> float | None:
    """Return the median over the rounds of gateway minus direct; None if a figure is missing."""
    return _median_of_pairs(measured, figure, lambda direct, gateway: gateway - direct)


def ratio(measured: Measured, figure: Callable[[Figures], float | None]) -> float | None:
    """Return the median over the rounds of gateway over direct; None if a figure is missing."""
    return _median_of_pairs(measured, figure, lambda direct, gateway: gateway / direct)


def median(rounds: list[Figures], figure: Callable[[Figures], float | None]) -> float | None:
    """Return the median over the rounds; None if a figure is missing."""
    values = [value for one in rounds if (value := figure(one)) is not None]
    return statistics.median(values) if values else None


def _median_of_pairs(
    measured: Measured,
    figure: Callable[[Figures], float | None],
    compare: Callable[[float, float], float],
) -> float | None:
    values = [
        compare(direct, gateway)
        for direct, gateway in (
            (figure(first), figure(second)) for first, second in measured.pairs()
        )
        if direct is not None and gateway is not None
    ]
    return statistics.median(values) if values else None


def ttft_ms(figures: Figures) -> float | None:
    return None if figures.ttft_ms is None else figures.ttft_ms.p50


def latency_ms(figures: Figures) -> float | None:
    return None if figures.latency_ms is None else figures.latency_ms.p50


def relay_p99_ms(figures: Figures) -> float | None:
    return None if figures.relay_ms is None else figures.relay_ms.p99


def per_second(figures: Figures) -> float:
    return figures.per_second


def _of(cell: Cell, value: Callable[[Measured], float | None]) -> Callable[[Results], float | None]:
    def look(results: Results) -> float | None:
        measured = results.cells.get(cell)
        # With failed requests, the figures of the other requests would be misleading.
        if measured is None or measured.failures():
            return None
        return value(measured)

    return look


def _cpu_ms(measured: Measured) -> float | None:
    cost = measured.cost()
    return None if cost is None else cost.gateway_cpu_ms + cost.engine_cpu_ms


def _large_prompt_ms(results: Results) -> float | None:
    large, small = (
        _of(cell, lambda measured: difference(measured, ttft_ms))(results)
        for cell in (PROMPT_LARGE, PROMPT_SMALL)
    )
    return None if large is None or small is None else large - small


def _fusion_ms(measured: Measured) -> float | None:
    """Return the time a panel takes beyond 1.03 times its sequential calls."""
    return _median_of_pairs(
        measured, latency_ms, lambda call, fusion: fusion - 1.03 * FUSION_CHAIN * call
    )


def _registered(value: Callable[[Registered], float]) -> Callable[[Results], float | None]:
    return lambda results: None if results.registered is None else value(results.registered)


def _idle_mb(results: Results) -> float | None:
    return None if results.idle is None else results.idle.gateway.memory_mb


LIMITS = (
    Limit(
        f"{STREAM_1.title}: time to first token, added",
        "ms",
        15,
        _of(STREAM_1, lambda measured: difference(measured, ttft_ms)),
    ),
    Limit(
        f"{STREAM_50.title}: time to first token, added",
        "ms",
        200,
        _of(STREAM_50, lambda measured: difference(measured, ttft_ms)),
    ),
    Limit(
        f"{STREAM_50.title}: throughput, of direct",
        "",
        0.70,
        _of(STREAM_50, lambda measured: ratio(measured, per_second)),
        at_least=True,
    ),
    Limit(
        f"{STREAM_50.title}: relay delay of a token, p99",
        "ms",
        25,
        _of(STREAM_50, lambda measured: median(measured.gateway, relay_p99_ms)),
    ),
    Limit(
        f"{STREAM_50.title}: CPU for a request, engine included", "ms", 45, _of(STREAM_50, _cpu_ms)
    ),
    Limit(
        f"{WHOLE_1.title}: latency, added",
        "ms",
        25,
        _of(WHOLE_1, lambda measured: difference(measured, latency_ms)),
    ),
    Limit("fusion: wall time over 1.03 of its critical path", "ms", 60, _of(FUSION_1, _fusion_ms)),
    Limit(
        f"{FLOWS} flows of {VERSIONS} versions: memory",
        "MB",
        100,
        _registered(lambda registered: registered.loaded_mb),
    ),
    Limit(
        f"{FLOWS} flows of {VERSIONS} versions: latency, added",
        "ms",
        0.1,
        _registered(lambda registered: registered.added_ms),
    ),
    Limit("800 KB prompt: time to first token, over 400 bytes", "ms", 10, _large_prompt_ms),
    Limit("idle memory of gateway and worker", "MB", 200, _idle_mb),
)
