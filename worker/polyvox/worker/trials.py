"""Starts the processes in which a flow is tried (``trial.py``), and reads what they report.

They are two where a flow may walk a set: strings hash differently in each, so the calls of such a
flow may come in another order. Both must make the same.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Self

from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import FlowError

TRIAL_S = 20.0

# Nearly all of a trial's time goes into its imports, a sixth of that into looking for garbage.
_PROGRAM = "import gc; gc.disable(); from polyvox.worker.trial import main; main()"


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
            process.kill()
            process.communicate()

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


def _started() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _report(process: "subprocess.Popen[str]", task: Task) -> Report:
    try:
        told, said = process.communicate(json.dumps(asdict(task)), timeout=TRIAL_S)
    except subprocess.TimeoutExpired:
        raise FlowError(
            f"{task.filename}: importing and trying it took more than {TRIAL_S:g} s. Only "
            "definitions may stand at the top level of a flow's modules."
        ) from None
    if process.returncode != 0:
        last = said.strip().splitlines()[-1:] or ["no word"]
        raise FlowError(f"{task.filename}: its trial broke off: {last[0]}")
    document = json.loads(told)
    return Report(**{**document, "calls": [tuple(call) for call in document["calls"]]})
