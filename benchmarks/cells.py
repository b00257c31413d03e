"""The cells of the benchmark, each run in rounds that alternate direct and gateway.

The speed of a machine changes over time. Therefore the rounds of a cell's two sides alternate, each
round of the gateway is compared with the adjacent direct one, and the result is the median of these
comparisons. Cells that are compared with each other form a group, whose rounds alternate as well.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.processes import Usage, usage
from benchmarks.program import KEY, CannotMeasure, Figures, Load, Program, Round

# Work that follows a run's answer (the ledger's rows, the engine's last writes) belongs to its
# round, and must not slow down the next one.
SETTLING_S = 0.3


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of load: the content of each request, and the number of concurrent requests.

    The first token comes after ``ttft_ms``, the others ``gap_ms`` apart. ``requests`` is the number
    for each target in each of ``rounds``.
    """

    title: str
    ttft_ms: int
    tokens: int
    gap_ms: int
    concurrency: int
    requests: int
    rounds: int = 3
    protocol: str = "chat"
    stream: bool = True
    prompt_bytes: int = 400
    virtual: str = ""
    """The gateway's model, if it is not the upstream's own."""

    @property
    def model(self) -> str:
        """The fake upstream's name for this timing."""
        return f"ttft{self.ttft_ms}-tokens{self.tokens}-gap{self.gap_ms}"


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU for one request, in milliseconds, and memory after the round, in MB."""

    gateway_cpu_ms: float
    engine_cpu_ms: float
    gateway_mb: float
    engine_mb: float


@dataclass(slots=True)
class Measured:
    """A cell's rounds. The nth rounds of ``direct`` and of ``gateway`` were adjacent in time."""

    cell: Cell
    direct: list[Figures] = field(default_factory=list)
    gateway: list[Figures] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)

    def pairs(self) -> list[tuple[Figures, Figures]]:
        return list(zip(self.direct, self.gateway, strict=True))

    def failures(self) -> list[str]:
        """Return a line for each round with requests that were not answered in full."""
        return [
            f"{self.cell.title}, {target}: {figures.failures} failed, first: {figures.failure}"
            for target, rounds in (("direct", self.direct), ("gateway", self.gateway))
            for figures in rounds
            if figures.failures
        ]

    def cost(self) -> Cost | None:
        """Return the medians of the rounds' costs; None if the system does not provide them."""
        if not self.costs:
            return None
        return Cost(
            gateway_cpu_ms=statistics.median(cost.gateway_cpu_ms for cost in self.costs),
            engine_cpu_ms=statistics.median(cost.engine_cpu_ms for cost in self.costs),
            gateway_mb=statistics.median(cost.gateway_mb for cost in self.costs),
            engine_mb=statistics.median(cost.engine_mb for cost in self.costs),
        )


STREAM_1 = Cell("stream, 1 client", 50, 200, 5, concurrency=1, requests=7)
STREAM_10 = Cell("stream, 10 clients", 50, 200, 5, concurrency=10, requests=40, rounds=2)
STREAM_50 = Cell("stream, 50 clients", 50, 200, 5, concurrency=50, requests=200)
WHOLE_1 = Cell("whole answer, 1 client", 0, 20, 0, concurrency=1, requests=60, stream=False)
WHOLE_50 = Cell(
    "whole answer, 50 clients", 0, 20, 0, concurrency=50, requests=300, rounds=2, stream=False
)
PROMPT_SMALL = Cell("400-byte prompt, 1 client", 50, 20, 5, concurrency=1, requests=15)
PROMPT_LARGE = replace(PROMPT_SMALL, title="800 KB prompt, 1 client", prompt_bytes=800_000)
FUSION_1 = Cell(
    "fusion of 3, 1 client",
    50,
    100,
    5,
    concurrency=1,
    requests=7,
    virtual="fused",
)
FUSION_CHAIN = 3
"""The number of sequential calls: the slowest voice, the judge, the main model."""

VIRTUAL_MODELS = f"""
[models.fused]
flow = "fusion"
[models.fused.params]
mode = "required"
main = "chat:{FUSION_1.model}"
judge = "chat:{FUSION_1.model}"
panel = [{{ model = "chat:{FUSION_1.model}", samples = 3 }}]
"""

GROUPS: dict[str, tuple[Cell, ...]] = {
    "stream-1": (STREAM_1,),
    "stream-10": (STREAM_10,),
    "stream-50": (STREAM_50,),
    "whole-1": (WHOLE_1,),
    "whole-50": (WHOLE_50,),
    "fusion": (FUSION_1,),
    "prompt": (PROMPT_SMALL, PROMPT_LARGE),
    "protocols": tuple(
        replace(STREAM_10, title=f"{protocol}, 10 clients", protocol=protocol, requests=20)
        for protocol in ("responses", "messages")
    ),
}
"""Groups of cells by their name on the command line; the cells of a group alternate."""


def measure(
    group: Sequence[Cell], load: Load, program: Program, *, quick: bool, show: Callable[[str], None]
) -> list[Measured]:
    """Measure the cells of a group in alternating rounds; ``quick`` runs one round."""
    measured = [Measured(cell) for cell in group]
    for cell in group:
        for target in (_direct, _gateway):
            asked = target(cell, load, program)
            _run(load, replace(asked, requests=max(5, cell.concurrency)))
    for number in range(1 if quick else max(cell.rounds for cell in group)):
        for one in measured:
            show(f"{one.cell.title}: round {number + 1}")
            # The order changes with each round, so that a slow drift does not favour one side.
            if number % 2 == 0:
                _measure_direct(one, load, program)
                _measure_gateway(one, load, program)
            else:
                _measure_gateway(one, load, program)
                _measure_direct(one, load, program)
    return measured


def idle(load: Load, program: Program) -> Usage | None:
    """Return the idle program's resource usage after its first five requests."""
    _run(load, replace(_gateway(PROMPT_SMALL, load, program), requests=5))
    time.sleep(SETTLING_S)
    return usage(program.pid)


def _direct(cell: Cell, load: Load, _program: Program) -> Round:
    return Round(
        url=load.url,
        key=KEY,
        protocol=cell.protocol,
        model=cell.model,
        tokens=cell.tokens,
        stream=cell.stream,
        prompt_bytes=cell.prompt_bytes,
        concurrency=cell.concurrency,
        requests=cell.requests,
    )


def _gateway(cell: Cell, load: Load, program: Program) -> Round:
    direct = _direct(cell, load, program)
    return replace(direct, url=program.url, model=cell.virtual or f"{cell.protocol}:{cell.model}")


def _measure_direct(measured: Measured, load: Load, program: Program) -> None:
    measured.direct.append(_run(load, _direct(measured.cell, load, program)))


def _measure_gateway(measured: Measured, load: Load, program: Program) -> None:
    before = usage(program.pid)
    figures = _run(load, _gateway(measured.cell, load, program))
    time.sleep(SETTLING_S)
    after = usage(program.pid)
    measured.gateway.append(figures)
    if before is not None and after is not None:
        measured.costs.append(_cost(before, after, figures.requests))


def _run(load: Load, asked: Round) -> Figures:
    figures = load.run(asked)
    if figures.requests == 0:
        raise CannotMeasure(f"No request to {asked.url} was answered: {figures.failure}")
    return figures


def _cost(before: Usage, after: Usage, requests: int) -> Cost:
    return Cost(
        gateway_cpu_ms=(after.gateway.cpu_ms - before.gateway.cpu_ms) / requests,
        engine_cpu_ms=(after.engine.cpu_ms - before.engine.cpu_ms) / requests,
        gateway_mb=after.gateway.memory_mb,
        engine_mb=after.engine.memory_mb,
    )
