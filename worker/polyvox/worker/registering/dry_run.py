"""Starts the processes in which a flow is tried (``dry_run_child.py``), and reads what they report.

They are two where a flow may walk a set: strings hash differently in each, so the calls of such a
flow may come in another order. Both must make the same.

A trial executes somebody's program. It gets nothing of the server's environment, where the keys of
providers are, and it limits itself before it begins (``dry_run_child.py``).
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

TRIAL_S = 20.0

MOST_OUTPUT = 16 * 1024 * 1024
"""Bytes of a report and of what the flow prints; the conversations of all calls are in it."""

# Nearly all of a trial's time goes into its imports, a sixth of that into looking for garbage.
_PROGRAM = (
    "import gc; gc.disable(); from polyvox.worker.registering.dry_run_child import main; main()"
)


_ADDRESS = " at 0x"
"""As in ``<function f at 0x7f...>``: another one in each process."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is tried: a stored flow, with parameters if some are known."""

    source: str
    filename: str
    params: dict[str, Json] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What became of it.

    ``refused`` must be mended. ``doubts`` may be: what fails on imagined answers need not fail on
    true ones. ``calls`` are the model calls in their order: step, model, conversation.
    """

    name: str = ""
    refused: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)


class Trials:
    """A process that gets ready while its user still has other things to do, and its second."""

    def __init__(self) -> None:
        self._processes = [_started()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            _end(process)

    def run(self, task: Task, *, twice: bool) -> list[Report]:
        """Try the flow, the one time these can; return one report or, to be compared, two.

        There are two with ``twice``, and where what a model is asked has an object's address in it.
        Raises FlowError if a trial breaks off.
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
    """Kill the process with all it may have started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _report(process: "subprocess.Popen[bytes]", task: Task) -> Report:
    told, said = _spoken(process, task)
    if process.wait() != 0:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no word"]
        raise FlowError(f"{task.filename}: its trial broke off: {last[0]}")
    try:
        document = json.loads(told)
    except ValueError:
        raise FlowError(f"{task.filename}: its trial ended without a report.") from None
    return Report(**{**document, "calls": [tuple(call) for call in document["calls"]]})


def _spoken(process: "subprocess.Popen[bytes]", task: Task) -> tuple[bytes, bytes]:
    """Hand the task over; return what came on standard output and on standard error until the end.

    Raises FlowError, and kills the process, if it takes too long or says too much.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    until = time.monotonic() + TRIAL_S
    try:
        # It reads all of the task before it does anything else, so this does not wait for it.
        process.stdin.write(json.dumps(asdict(task)).encode())
        process.stdin.close()
    except BrokenPipeError:
        pass
    heard = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as waiting:
        for pipe in heard:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            for ready, _ in waiting.select(max(0.0, until - time.monotonic())):
                piece = os.read(ready.fd, 65536)
                heard[ready.fd] += piece
                if not piece:
                    waiting.unregister(ready.fd)
            mistake = ""
            if sum(map(len, heard.values())) > MOST_OUTPUT:
                mistake = f"its trial said more than {MOST_OUTPUT // 1024 // 1024} MiB"
            elif time.monotonic() > until:
                mistake = f"importing and trying it took more than {TRIAL_S:g} s"
            if mistake:
                _end(process)
                raise FlowError(
                    f"{task.filename}: {mistake}. Only definitions may stand at the top level of a "
                    "flow's modules."
                )
    told, errors = heard.values()
    return bytes(told), bytes(errors)
