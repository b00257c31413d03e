"""Starts the processes of a flow's dry run (``dry_run_child.py``) and reads their reports.

If a flow may iterate over a set, there are two processes. Strings have different hashes in each, so
the order of a set's elements may differ. Both processes must make the same calls.

A dry run executes an untrusted program. It does not get the server's environment, which contains
the providers' keys, and it limits its own resources first (``dry_run_child.py``).
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Self

from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import FlowError

LIMIT_S = 20.0

MOST_OUTPUT = 16 * 1024 * 1024
"""Bytes of a report, which contains the conversations of all calls, and of the flow's output."""

# Imports take most of a dry run's time, and garbage collection would take a sixth of that.
_PROGRAM = (
    "import gc; gc.disable(); from polyvox.worker.registering.dry_run_child import main; main()"
)


_ADDRESS = " at 0x"
"""Part of reprs such as ``<function f at 0x7f...>``, which differ between processes."""


@dataclass(frozen=True, slots=True)
class Task:
    """The input of a dry run: a stored flow, and its parameters if they are known."""

    source: str
    filename: str
    params: dict[str, Json] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """The result of a dry run.

    ``refused`` are errors that prevent registration. ``doubts`` are warnings, because what fails
    with stub replies may work with real ones. ``calls`` are the model calls in their order: step,
    model, conversation.
    """

    name: str = ""
    refused: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)


class DryRuns:
    """The processes of one dry run; the first is started in advance to save time."""

    def __init__(self) -> None:
        self._processes = [_started()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            _end(process)

    def run(self, task: Task, *, twice: bool) -> list[Report]:
        """Run the flow and return one report, or two to be compared. Can be called once.

        There are two with ``twice``, and if a conversation contains the address of an object.
        Raises FlowError if a process fails.
        """
        if twice:
            self._processes.append(_started())
        with ThreadPoolExecutor(2) as pool:
            reports = list(pool.map(lambda process: _report(process, task), self._processes))
        if not twice and any(_ADDRESS in asked for _, _, asked in reports[0].calls):
            self._processes.append(_started())
            reports.append(_report(self._processes[-1], task))
        return reports


def _started() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
        start_new_session=True,
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and all processes it may have started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _report(process: "subprocess.Popen[bytes]", task: Task) -> Report:
    output, errors = _outputs(process, task)
    if process.wait() != 0:
        last = errors.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        raise FlowError(f"{task.filename}: the dry run failed: {last[0]}")
    try:
        document = json.loads(output)
    except ValueError:
        raise FlowError(f"{task.filename}: the dry run ended without a report.") from None
    return Report(**{**document, "calls": [tuple(call) for call in document["calls"]]})


def _outputs(process: "subprocess.Popen[bytes]", task: Task) -> tuple[bytes, bytes]:
    """Send the task to the process and return all of its standard output and standard error.

    Raises FlowError, and kills the process, if it takes too long or prints too much.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    until = time.monotonic() + LIMIT_S
    try:
        # The process reads the whole task first, so this does not block.
        process.stdin.write(json.dumps(asdict(task)).encode())
        process.stdin.close()
    except BrokenPipeError:
        pass
    received = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as waiting:
        for pipe in received:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            for ready, _ in waiting.select(max(0.0, until - time.monotonic())):
                piece = os.read(ready.fd, 65536)
                received[ready.fd] += piece
                if not piece:
                    waiting.unregister(ready.fd)
            mistake = ""
            if sum(map(len, received.values())) > MOST_OUTPUT:
                mistake = f"the dry run printed more than {MOST_OUTPUT // 1024 // 1024} MiB"
            elif time.monotonic() > until:
                mistake = f"importing and running it took more than {LIMIT_S:g} s"
            if mistake:
                _end(process)
                raise FlowError(
                    f"{task.filename}: {mistake}. The top level of a flow's modules may contain "
                    "only definitions."
                )
    output, errors = received.values()
    return bytes(output), bytes(errors)
