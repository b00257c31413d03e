"""The command line's long-running programs as child processes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.programs.running import until

EXECUTABLE = Path(sys.executable).parent / "polyvox"
STOP_S = 40.0


@dataclass(frozen=True, slots=True)
class Child:
    """A running program and the file it prints into."""

    process: "subprocess.Popen[bytes]"
    output: Path

    def printed(self, pattern: str) -> str:
        """Return the first group of ``pattern`` as soon as it was printed."""

        def look() -> str | None:
            text = self.output.read_text("utf-8", errors="replace")
            found = re.search(pattern, text)
            if found is None and self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}:\n{text}")
            return found[1] if found else None

        return until(look, f"{pattern!r} was not printed")

    @property
    def base_url(self) -> str:
        return self.printed(r"Base URL\s+(\S+)")

    @property
    def key(self) -> str:
        """The user key, read from the file that the program names where it has no terminal."""
        return Path(self.printed(r'POLYVOX_KEY="\$\(cat (\S+)\)"')).read_text("utf-8").strip()

    def ready(self) -> "Child":
        """Return when requests can be served."""
        assert httpx.get(f"{self.base_url}/readyz", trust_env=False).is_success
        return self

    def stop(self) -> int:
        """Ask it to end as a service manager does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(
    *arguments: str, folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """Run ``polyvox ARGUMENTS`` in ``folder``; what it leaves behind is killed with its group."""
    output = folder / f"output-{time.monotonic_ns()}.txt"
    with output.open("wb") as opened:
        process = subprocess.Popen(
            [EXECUTABLE, *arguments],
            cwd=folder,
            env={**_environment(), "PYTHONUNBUFFERED": "1", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Child(process, output)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run ``polyvox ARGUMENTS`` to its end."""
    return subprocess.run(
        [EXECUTABLE, *arguments],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=STOP_S,
        check=False,
    )


def _environment() -> dict[str, str]:
    """This process's environment without what would configure a program."""
    foreign = ("OTEL_", "POLYVOX_", "TEMPORAL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def family_of(pid: int) -> set[int]:
    """Return ``pid`` and its living descendants."""
    return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}


def living(pids: set[int]) -> set[int]:
    """Return those of ``pids`` that have not ended."""
    return {pid for pid in pids if _is_running(pid)}


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
