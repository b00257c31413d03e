"""Tries a flow before it is registered, in a process of its own: Temporal's sandbox, no engine.

The flow is run by the same host that will run it, in the SDK's sandbox, which refuses what differs
from run to run. Its models are imagined: they answer with a text, with JSON where a schema is asked
for, and call each mounted tool once. So the flow's own lines are executed, the good path at least.

``python -m polyvox.worker.trial`` reads a Task from standard input and prints a Report. Two such
processes, in which strings hash differently, must make the same calls: a flow that walks a set
does not.
"""

import gc
import json
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from polyvox.activities.parameters import mistakes
from polyvox.worker.ground import TemporalGround
from polyvox.worker.host import Hosting, hosted
from polyvox.worker.imagined import imagine, imagined_params
from polyvox.worker.sandbox_play import Outcome, play
from polyvox.worker.watchdog import BlockedFlow
from polyvox.workflows.bundle import load_bundle
from polyvox.workflows.calls import ConversationRef, ModelCall, RunInput, resolve
from polyvox.workflows.conversation import Conversation, Json, user
from polyvox.workflows.flow import FlowError
from polyvox.workflows.ground import CALL_MODEL, RECALL, RUN_TOOL

QUESTION = "Which of the two designs should we take, and why?"
LABEL = "trial@0"

STEPS = 500
BUSY_S = 5.0

_DEFECTS = frozenset(
    {"AttributeError", "ImportError", "ModuleNotFoundError", "NameError", "TypeError"}
    | {"UnboundLocalError"}
)
"""Errors that no better answer of a model would have avoided."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is tried: a stored flow, parameters if some are known, the providers if they are."""

    source: str
    filename: str
    params: dict[str, Json] = field(default_factory=dict)
    providers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What became of it.

    ``refused`` must be mended. ``doubts`` may be: what fails on imagined answers need not fail on
    true ones. ``calls`` are the model calls in their order.
    """

    name: str = ""
    refused: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)


@workflow.defn(dynamic=True)
class TrialHost:
    """The host of a trial; the sandbox imports it by its name."""

    def __init__(self) -> None:
        self._ground = TemporalGround(conversation)

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> Any:
        convert = workflow.payload_converter()
        run_input = convert.from_payload(args[0].payload, RunInput)
        source, filename = convert.from_payload(args[1].payload, list)
        hosting = Hosting(
            load_flow=lambda _: load_bundle(source, filename, LABEL),
            open_conversation=conversation,
            tell=lambda _: None,
        )
        return await hosted(run_input, hosting, self._ground)


def conversation(_digest: str) -> Conversation:
    """Return what the imagined client says."""
    return Conversation((user(QUESTION),))


def tried(task: Task) -> Report:
    """Load the flow, and run it once on imagined answers. Never raises."""
    report = Report()
    try:
        flow = load_bundle(task.source, task.filename, LABEL)
        flow.params.model_json_schema()
        report.name = flow.name
    except FlowError as error:
        report.refused.append(str(error).replace(f" ({LABEL})", ""))
        return report
    except Exception as error:  # noqa: BLE001 - somebody else's program: whatever it raises is told
        report.refused.append(_told(error, task.filename))
        return report
    params = task.params or imagined_params(flow.params)
    if wrong := mistakes(flow.params, params, {}):
        told = "it was not run, for its parameters cannot be guessed: bind it with --model, --param"
        if task.params:
            report.refused += [f"{task.filename}: {mistake}" for mistake in wrong]
        else:
            report.doubts.append(f"{task.filename}: {told}.")
        return report
    with _forgotten_awaits(report):
        _run(task, params, report)
    return report


@contextmanager
def _forgotten_awaits(report: Report) -> Iterator[None]:
    """Refuse a flow that calls a coroutine function and never awaits what it got.

    Python only warns, when the coroutine is thrown away; the flow goes on with an object where it
    wants an answer.
    """
    sys.set_coroutine_origin_tracking_depth(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "coroutine .* was never awaited")
        yield
        gc.collect()
    for warning in caught:
        told = re.search(
            rf"^coroutine '(.*)' was never awaited\n.*\n  File \"(.*) \({LABEL}\)\", line (\d+)",
            str(warning.message),
        )
        if told:
            what, file, line = told.groups()
            name = what.rpartition(".")[2]
            report.refused.append(f"{file}:{line}: {name}(...) is called without `await`.")


def _run(task: Task, params: dict[str, Json], report: Report) -> None:
    calling: set[str] = set()

    def answer(activity: str, argument: Any) -> Any:
        match activity:
            case name if name == CALL_MODEL:
                return asked(argument)
            case name if name in (RECALL, RUN_TOOL):
                return {}
            case _:
                return None

    def asked(call: ModelCall) -> Any:
        provider = call.model.partition(":")[0]
        report.calls.append(json.dumps([call.step, call.model, repr(call.conversation)]))
        if task.providers and provider not in task.providers:
            report.refused.append(
                f"{task.filename}: step {call.step!r} asks {call.model!r}, whose provider is not "
                f"known. Providers: {', '.join(sorted(task.providers))}."
            )
        return imagine(call, resolve(call.conversation, conversation("")), calling)

    def too_long(*_: object) -> None:
        raise BlockedFlow

    run_input = RunInput("trial", LABEL, "", ConversationRef(base="trial"), params)
    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, BUSY_S)
    try:
        outcome = play(
            TrialHost, LABEL, [run_input, [task.source, task.filename]], answer, steps=STEPS
        )
    except BlockedFlow:
        outcome = Outcome(stuck=f"it computed for {BUSY_S:g} s without awaiting anything")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    _judge(outcome, task, report)


def _judge(outcome: Outcome, task: Task, report: Report) -> None:
    if outcome.stuck:
        report.refused.append(
            f"{task.filename}: run on models that answer at once, {outcome.stuck}. Bound its "
            "loops, and await only run's own methods, asyncio's tasks and sleeps."
        )
    if outcome.failure is None:
        return
    place = outcome.line_in(LABEL)
    where = f"{place[0]}:{place[1]}" if place else task.filename
    failed = outcome.failure
    cause = failed.cause.application_failure_info.type
    kind = failed.application_failure_info.type
    message = failed.message.partition(f" at line {place[1]}:" if place else "\n")[0]
    message = message.removeprefix(f"Flow {LABEL} ").replace(f" {LABEL}", "")
    if kind == "RestrictedWorkflowAccessError" or cause == "RestrictedWorkflowAccessError":
        what = message.partition(" from inside")[0].removesuffix(".__call__")
        report.refused.append(
            f"{where}: {what} in a flow, for it differs at each replay. Use run.now(), "
            "run.random(), a parameter or a tool."
        )
    elif "was cut off" in message:
        report.refused.append(f"{where}: the flow computes for seconds without awaiting anything.")
    elif kind == "flow_error" and (cause in _DEFECTS or cause in ("", "ModelError")):
        report.refused.append(f"{where}: {message}")
    else:
        told = message if kind == "flow_error" else f"{kind}: {message}"
        report.doubts.append(f"{where}: on imagined answers the flow ended with an error: {told}")


def _told(error: Exception, filename: str) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"({LABEL})" in f.filename]
    where = filename
    if isinstance(error, SyntaxError) and error.filename and f"({LABEL})" in error.filename:
        where = f"{error.filename.removesuffix(f' ({LABEL})')}:{error.lineno}"
    elif frames:
        where = f"{frames[-1].filename.removesuffix(f' ({LABEL})')}:{frames[-1].lineno}"
    return f"{where}: cannot be imported: {type(error).__name__}: {error}"


def main() -> None:
    """Read a Task as JSON, print its Report as JSON."""
    # What the flow prints is not part of the report, and the SDK logs what the report tells.
    out, sys.stdout = sys.stdout, sys.stderr
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    report = tried(Task(**json.load(sys.stdin)))
    json.dump(asdict(report), out)
    out.flush()
    # What the trial left behind is not worth being taken down in order.
    os._exit(0)


if __name__ == "__main__":
    main()
