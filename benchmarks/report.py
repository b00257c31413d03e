"""The tables that the benchmark prints: figures, codecs, registry and limits."""

from collections.abc import Callable, Iterator

from rich.table import Table

from benchmarks.cells import Measured
from benchmarks.codec import Microseconds
from benchmarks.limits import (
    LIMITS,
    Results,
    difference,
    latency_ms,
    median,
    per_second,
    ratio,
    relay_p99_ms,
    ttft_ms,
)
from benchmarks.program import PROTOCOLS, Figures
from benchmarks.registry import FLOWS, VERSIONS, Registered
from benchmarks.requests import Milliseconds

FIGURES: tuple[tuple[str, Callable[[Figures], float | None]], ...] = (
    ("time to first token, ms", ttft_ms),
    ("whole latency, ms", latency_ms),
    ("relay delay p99, ms", relay_p99_ms),
    ("requests / s", per_second),
)
STYLES = {"met": "green", "missed": "bold red", "not measured": "yellow"}


def figures_table(results: Results) -> Table:
    """Return each cell's figures, direct and gateway side by side."""
    table = Table(title="Medians over the rounds", title_justify="left")
    table.add_column("cell (requests to each)", no_wrap=True)
    for name in ("", "direct", "gateway", "difference", "ratio"):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    for measured in results.cells.values():
        rows = [*_load_rows(measured), *_cost_rows(measured)]
        answered = sum(figures.requests for figures in measured.gateway)
        titles = [measured.cell.title, f"({answered} in {len(measured.gateway)} rounds)"]
        for number, row in enumerate(rows):
            title = titles[number] if number < len(titles) else ""
            table.add_row(title, *row, end_section=number == len(rows) - 1)
    if results.idle is not None:
        gateway, engine = results.idle.gateway.memory_mb, results.idle.engine.memory_mb
        table.add_row("idle, after 5 requests", *_cost_row("memory, MB", gateway, engine))
    return table


def _load_rows(measured: Measured) -> Iterator[tuple[str, ...]]:
    for name, figure in FIGURES:
        gateway = median(measured.gateway, figure)
        if gateway is not None:
            added = difference(measured, figure)
            yield (
                name,
                _number(median(measured.direct, figure)),
                _number(gateway),
                "" if added is None else f"{added:+.1f}",
                _number(ratio(measured, figure), 2),
            )


def _cost_rows(measured: Measured) -> Iterator[tuple[str, ...]]:
    cost = measured.cost()
    if cost is not None:
        yield _cost_row("CPU / request, ms", cost.gateway_cpu_ms, cost.engine_cpu_ms)
        yield _cost_row("memory, MB", cost.gateway_mb, cost.engine_mb)


def _cost_row(name: str, gateway: float, engine: float) -> tuple[str, ...]:
    return (name, "", f"{gateway:.1f}", f"engine {engine:.1f}", "")


def codec_table(microseconds: Microseconds) -> Table:
    """Return the cost of one token in the codecs: a row per provider, a column per client."""
    table = Table(title="Codecs: decode + encode, µs / token", title_justify="left")
    table.add_column("provider")
    for client in PROTOCOLS:
        table.add_column(f"to a {client} client", justify="right")
    for provider in PROTOCOLS:
        row = [f"{microseconds[provider, client]:.1f}" for client in PROTOCOLS]
        table.add_row(provider, *row)
    return table


def requests_table(milliseconds: Milliseconds) -> Table:
    """Return the cost of a large request: a row per client, a column per provider."""
    table = Table(title="Codecs: a 2 MB request, ms of CPU", title_justify="left")
    table.add_column("client")
    for provider in PROTOCOLS:
        table.add_column(f"to a {provider} provider", justify="right")
    for client in PROTOCOLS:
        row = [f"{milliseconds[client, provider]:.1f}" for provider in PROTOCOLS]
        table.add_row(client, *row)
    return table


def registry_table(registered: Registered) -> Table:
    """Return the cost of the registered flows."""
    title = f"Registry: {FLOWS} flows of {VERSIONS} versions"
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_row("memory of the catalog, MB", _number(registered.catalog_mb))
    table.add_row("with as many versions loaded as are cached, MB", _number(registered.loaded_mb))
    table.add_row("finding a model, ms", _number(registered.find_ms, 3))
    table.add_row("of that for the number of flows, ms", _number(registered.added_ms, 3))
    table.add_row("reading the catalog after a change, ms", _number(registered.read_ms))
    return table


def limits_table(results: Results) -> Table:
    """Return each limit with its measured value and whether it is met."""
    table = Table(title="Limits", title_justify="left")
    table.add_column("what")
    for name in ("limit", "measured"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for limit in LIMITS:
        verdict = limit.verdict(results)
        bound = f"{'>=' if limit.at_least else '<='} {limit.bound:g} {limit.unit}"
        value = _number(limit.value(results), 2 if limit.bound < 1 else 1)
        style = STYLES[verdict]
        table.add_row(limit.what, bound.strip(), value, f"[{style}]{verdict}[/{style}]")
    return table


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"
