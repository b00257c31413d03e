"""The two child processes of a benchmark: the load generator and ``polyvox up``."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

SOURCE = Path(__file__).parent / "load"
KEY = "test-key"
PROTOCOLS = ("chat", "responses", "messages")

# The engine may have to be fetched or built first, which takes minutes.
READY_LIMIT_S = 600.0
STOP_LIMIT_S = 60.0


class CannotMeasure(Exception):
    """The benchmark cannot start or continue; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Round:
    """``requests`` requests to one target by ``concurrency`` clients; see ``load/round.go``."""

    url: str
    key: str
    protocol: str
    model: str
    tokens: int
    stream: bool
    prompt_bytes: int
    concurrency: int
    requests: int


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Median and 99th percentile."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one round; see ``load/round.go``. Times in ms, None without an answer."""

    requests: int
    failures: int
    failure: str
    seconds: float
    latency_ms: Quantiles | None
    ttft_ms: Quantiles | None
    relay_ms: Quantiles | None

    @property
    def per_second(self) -> float:
        """Return the number of requests answered per second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Load:
    """The running load generator; ``url`` is that of its fake upstream, without ``/v1``."""

    url: str
    process: subprocess.Popen[str]

    def run(self, asked: Round) -> Figures:
        """Run one round. Raise CannotMeasure if the load generator exits."""
        with contextlib.suppress(BrokenPipeError):
            _pipe(self.process.stdin).write(json.dumps(asdict(asked)) + "\n")
            _pipe(self.process.stdin).flush()
        return _figures(_read_line(self.process))


@dataclass(frozen=True, slots=True)
class Program:
    """The running ``polyvox up``; ``url`` without ``/v1``."""

    url: str
    pid: int


def build(folder: Path) -> Path:
    """Build the load generator in ``folder`` with the Go on PATH."""
    go = shutil.which("go")
    if go is None:
        raise CannotMeasure(
            "Go is not on PATH. It is needed to build the benchmark's load generator: install Go "
            "1.21 or newer (https://go.dev/dl/)."
        )
    binary = folder / "load"
    built = subprocess.run(
        [go, "build", "-buildvcs=false", "-o", str(binary), "."],
        cwd=SOURCE,
        env={**os.environ, "GOWORK": "off", "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        raise CannotMeasure(f"{go} could not build {SOURCE}:\n{built.stderr.strip()}")
    return binary


@contextmanager
def loading(binary: Path) -> Iterator[Load]:
    """Run the load generator until the context exits."""
    process = subprocess.Popen(
        [str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Load(_read_line(process)["url"], process)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def serving(
    folder: Path, upstream: str, models: str, show: Callable[[str], None]
) -> Iterator[Program]:
    """Run ``polyvox up`` on a free port, with data in ``folder`` and providers at ``upstream``.

    ``models`` are tables of its configuration. ``show`` gets each line it prints until it is ready,
    because building its engine may take minutes.
    """
    config, log = folder / "polyvox.toml", folder / "output.txt"
    config.write_text(_config(upstream) + models, "utf-8")
    command = [str(Path(sys.executable).with_name("polyvox")), "up", "--port", "0"]
    command += ["--data", str(folder / "data"), "--config", str(config)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Program(_base_url(process, log, show), process.pid)
    finally:
        _stop(process)


def _config(upstream: str) -> str:
    providers = [
        f'[providers.{protocol}]\nprotocol = "{protocol}"\nbase_url = "{upstream}/v1"\n'
        for protocol in PROTOCOLS
    ]
    return "\n".join(providers)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    # Settings in the environment, such as an endpoint for spans, would change the measurement.
    foreign = ("OTEL_", "POLYVOX_", "TEMPORAL_")
    kept = {name: value for name, value in environ.items() if not name.startswith(foreign)}
    return {**kept, "POLYVOX_KEY": KEY}


def _base_url(process: subprocess.Popen[bytes], log: Path, show: Callable[[str], None]) -> str:
    """Return the base URL that the program prints when it is ready."""
    deadline = time.monotonic() + READY_LIMIT_S
    shown = 0
    while time.monotonic() < deadline:
        printed = log.read_text("utf-8", errors="replace")
        if ready := re.search(r"Base URL +(http://\S+).*\n", printed):
            return ready[1]
        *lines, _unfinished = printed.split("\n")
        for line in lines[shown:]:
            show(line)
        shown = len(lines)
        if process.poll() is not None:
            said = log.read_text("utf-8", errors="replace").strip()
            raise CannotMeasure(f"`polyvox up` ended with status {process.returncode}:\n{said}")
        time.sleep(0.1)
    raise CannotMeasure(f"`polyvox up` was not ready after {READY_LIMIT_S:g} s.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _read_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    line = _pipe(process.stdout).readline()
    if not line:
        raise CannotMeasure(f"The load generator ended with exit status {process.wait()}.")
    document: dict[str, Any] = json.loads(line)
    return document


def _figures(document: dict[str, Any]) -> Figures:
    times = {
        name: None if document[name] is None else Quantiles(**document[name])
        for name in ("latency_ms", "ttft_ms", "relay_ms")
    }
    return Figures(**{**document, **times})
