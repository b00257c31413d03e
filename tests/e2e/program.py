"""The real program as a child process, and requests about its runs."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

KEY = "test-key"
EXECUTABLE = Path(__file__).parents[2] / ".venv" / "bin" / "polyvox"

# The engine may have to be built first, which takes minutes.
READY_LIMIT_S = 600.0
STOP_LIMIT_S = 60.0

FLOWS = {"simulated": "direct@1", "simulated-fusion": "fusion@1"}
"""Virtual models that CONFIG declares, each with its flow version."""

STEPS = {
    "simulated": {"main"},
    "simulated-fusion": {"branch 1", "branch 2", "branch 3", "synthesis", "main"},
}
"""The steps of a run that begins a turn."""

CONFIG = (Path(__file__).parent / "polyvox.toml").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Program:
    """The running program; ``base_url`` has no ``/v1``, ``log`` has what it prints."""

    base_url: str
    data: Path
    log: Path
    key: str = KEY

    def get(self, path: str) -> Any:
        """Return the JSON document at ``path``."""
        headers = {"authorization": f"Bearer {self.key}"}
        answer = httpx.get(f"{self.base_url}{path}", headers=headers, timeout=10, trust_env=False)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def running(folder: Path, show: Callable[[str], None], document: str = CONFIG) -> Iterator[Program]:
    """Run ``polyvox up`` on a free port with its data in ``folder``.

    ``show`` gets its output until it is ready; ``document`` is its ``polyvox.toml``. A clean
    exit on SIGTERM is required: any exit code other than 0 is an AssertionError.
    """
    config, log = folder / "polyvox.toml", folder / "output.txt"
    config.write_text(document, "utf-8")
    # Port 0 instead of a port found free beforehand, which the program's engine might take first.
    command = [str(EXECUTABLE), "up", "--port", "0"]
    command += ["--data", str(folder / "data"), "--config", str(config)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=_environment(),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Program(_ready(process, log, show), folder / "data", log)
        process.send_signal(signal.SIGTERM)
        exit_code = process.wait(STOP_LIMIT_S)
        assert exit_code == 0, f"exit code {exit_code} after SIGTERM:\n{_tail(log)}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _environment() -> dict[str, str]:
    # Only the engine's cache comes from the environment, not settings for another program.
    foreign = ("OTEL_", "POLYVOX_", "TEMPORAL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "POLYVOX_KEY": KEY}


def _ready(process: subprocess.Popen[bytes], log: Path, show: Callable[[str], None]) -> str:
    """Return the base URL the program prints, as soon as /readyz succeeds."""
    deadline = time.monotonic() + READY_LIMIT_S
    with log.open(encoding="utf-8", errors="replace") as output:
        while time.monotonic() < deadline:
            show(output.read())
            printed = re.search(r"Base URL +(http://\S+)", log.read_text("utf-8", "replace"))
            if printed and _says_ready(printed[1]):
                return printed[1]
            try:
                exit_code = process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"ended with exit code {exit_code}:\n{_tail(log)}")
    raise AssertionError(f"not ready after {READY_LIMIT_S:g} s:\n{_tail(log)}")


def _says_ready(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/readyz", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _tail(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-60:])
