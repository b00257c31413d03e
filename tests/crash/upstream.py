"""Controls the counting provider from the harness and reads what it recorded."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from polyvox.worker.engine.ports import free_port
from tests.programs.running import until

ROOT = Path(__file__).parent.parent.parent


@dataclass(slots=True)
class Request:
    """One request that the provider received.

    Times are seconds since the epoch: ``answered_at`` when the whole answer was sent, ``closed_at``
    when the other side closed the connection after that, ``cut_at`` when it did so before. ``late``
    says that the other side had gone before the provider read the request.
    """

    number: str
    model: str
    digest: str
    results: int
    at: float
    held: str | None = None
    answered_at: float | None = None
    closed_at: float | None = None
    cut_at: float | None = None
    late: bool = False

    def was_sent_after(self, at: float) -> bool:
        """Return whether it was sent after ``at``, the time of a death."""
        return self.at > at and not self.late

    @property
    def role(self) -> str:
        return self.model.partition("-")[0]

    @property
    def mark(self) -> str:
        """The cell that the request belongs to."""
        return self.model.partition("-")[2]

    @property
    def identity(self) -> tuple[str, str]:
        """The call: the model and the conversation, the same for all attempts."""
        return self.model, self.digest


class Upstream:
    """The provider's process. ``start`` it before use and ``stop`` it afterwards."""

    def __init__(self, folder: Path) -> None:
        self.port, self.unread_port = free_port(), free_port()
        self._folder = folder
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def unread_url(self) -> str:
        return f"http://127.0.0.1:{self.unread_port}/v1"

    def start(self, *, is_open: bool = False) -> None:
        """Start it and return when it accepts requests; with ``is_open`` it never holds."""
        self._starts += 1
        record = self._folder / f"provider-{self._starts}.jsonl"
        arguments = [str(self.port), str(self.unread_port), str(record)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.provider", *arguments, *["--open"] * is_open],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )
        until(lambda: record.exists() or None, "the counting provider did not start")

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    stop = kill

    def hold(self, holds: dict[str, tuple[str, int | None]]) -> None:
        """Hold the first request of each model at its point (with that many tool results)."""
        self._control({"hold": holds})

    def release(self, models: Iterable[str]) -> None:
        self._control({"release": list(models)})

    def open(self) -> None:
        """Release everything and hold nothing more."""
        self._control({"open": True})

    def connected(self) -> int:
        """Return the number of connections that were left unread."""
        return sum(line["what"] == "connected" for _, line in self._lines())

    def requests(self) -> list[Request]:
        """Return all requests in the order in which they arrived."""
        found: dict[str, Request] = {}
        for start, line in self._lines():
            number = f"{start}.{line['number']}"
            what = line["what"]
            if what == "request":
                found[number] = Request(
                    number,
                    line["model"],
                    line["digest"],
                    line["results"],
                    line["at"],
                    late=line["late"],
                )
            elif what == "held":
                found[number].held = line["point"]
            elif what in ("answered", "closed", "cut"):
                setattr(found[number], f"{what}_at", line["at"])
        return sorted(found.values(), key=lambda request: request.at)

    def storm(self, models: list[str], pid: int, after: int) -> None:
        """Release ``models`` and stop ``pid`` when ``after`` answers were read; without models,
        when ``after`` more requests were received."""
        at = "closed" if models else "request"
        self._control({"release": models, "stop": {"pid": pid, "after": after, "at": at}})

    def has_stopped(self) -> bool:
        """Return whether the storm's victim was stopped."""
        return any(line["what"] == "stopped" for _, line in self._lines())

    def _lines(self) -> Iterable[tuple[int, dict[str, Any]]]:
        for start in range(1, self._starts + 1):
            record = self._folder / f"provider-{start}.jsonl"
            for line in record.read_text("utf-8").splitlines():
                yield start, json.loads(line)

    def _control(self, document: dict[str, Any]) -> None:
        httpx.post(
            f"http://127.0.0.1:{self.port}/control", json=document, trust_env=False, timeout=10
        )
