"""The dry run of a flow before registration, in a separate process without an engine.

The flow is run by the host that runs it in production, but in the SDK's sandbox, which rejects
non-deterministic calls. Stub models answer with a text, or with JSON if a schema is requested, and
call each mounted tool once. This executes the flow's code, at least its path without errors.

The process is started by ``dry_run.py``, reads a Task from standard input and prints a Report.
"""

import gc
import json
import logging
import os
import re
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from polyvox.activities.registry.parameters import mistakes
from polyvox.worker.hosting.host import HostServices, hosted
from polyvox.worker.hosting.temporal_backend import TemporalBackend
from polyvox.worker.hosting.watchdog import BlockedFlow
from polyvox.worker.registering.dry_run import Report, Task
from polyvox.worker.registering.sandbox_driver import Outcome, play
from polyvox.worker.registering.stub_replies import stub_params, stub_reply
from polyvox.workflows.boundary.backend import CALL_MODEL, RECALL, RUN_TOOL
from polyvox.workflows.boundary.calls import ConversationRef, ModelCall, RunInput, resolve
from polyvox.workflows.conversation import Conversation, Json, user
from polyvox.workflows.flow import Flow, FlowError
from polyvox.workflows.source.bundle import load_bundle

QUESTION = "Which of the two designs should we take, and why?"
LABEL = "dry-run@0"

STEPS = 500
BUSY_S = 5.0

CPU_S = 25
MEMORY_MIB = 1024
OPEN_FILES = 64

_DEFECTS = frozenset(
    {"AttributeError", "ImportError", "ModuleNotFoundError", "NameError", "TypeError"}
    | {"UnboundLocalError", "ForbiddenReach", "MemoryError"}
)
"""Errors that do not depend on the models' answers."""


@workflow.defn(dynamic=True)
class DryRunHost:
    """The host of a dry run; the sandbox imports it by its name."""

    def __init__(self) -> None:
        self._backend = TemporalBackend(conversation)

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> Any:
        convert = workflow.payload_converter()
        run_input = convert.from_payload(args[0].payload, RunInput)
        source, filename = convert.from_payload(args[1].payload, list)
        services = HostServices(
            load_flow=lambda _: load_bundle(source, filename, LABEL),
            open_conversation=conversation,
            tell=lambda *_: None,
        )
        return await hosted(run_input, services, self._backend)


def conversation(_digest: str) -> Conversation:
    """Return the client's conversation in the dry run."""
    return Conversation((user(QUESTION),))


def executed(task: Task) -> Report:
    """Load the flow and run it once with stub replies. Never raises."""
    report = Report()
    try:
        flow = load_bundle(task.source, task.filename, LABEL)
        flow.params.model_json_schema()
        report.name = flow.name
    except FlowError as error:
        message = str(error).replace(f" ({LABEL})", "")
        where = _place(error, task.filename)
        report.refused.append(message if message.startswith(where) else f"{where}: {message}")
        return report
    except Exception as error:  # noqa: BLE001 - an untrusted program may raise anything
        reason = f"cannot be imported: {type(error).__name__}: {error}"
        report.refused.append(f"{_place(error, task.filename)}: {reason}")
        return report
    params = task.params or stub_params(flow.params)
    if found := mistakes(flow.params, params):
        if task.params:
            report.refused += [f"{task.filename}: {mistake}" for mistake in found]
        else:
            report.doubts.append(
                f"{task.filename}: it was not run: its parameters cannot be guessed; give them "
                "with --model, --param."
            )
        return report
    with _forgotten_awaits(report):
        outcome = _run(task, params, report)
    _judge(outcome, flow, task, report)
    return report


@contextmanager
def _forgotten_awaits(report: Report) -> Iterator[None]:
    """Reject a flow that calls a coroutine function and does not await the result.

    Python only emits a warning when the coroutine is deleted, and the flow continues with a
    coroutine instead of the result.
    """
    sys.set_coroutine_origin_tracking_depth(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "coroutine .* was never awaited")
        yield
        gc.collect()
    for warning in caught:
        place = re.search(
            rf"^coroutine '(.*)' was never awaited\n.*\n  File \"(.*) \({LABEL}\)\", line (\d+)",
            str(warning.message),
        )
        if place:
            what, file, line = place.groups()
            name = what.rpartition(".")[2]
            report.refused.append(f"{file}:{line}: {name}(...) is called without `await`.")


def _run(task: Task, params: dict[str, Json], report: Report) -> Outcome:
    calling: set[str] = set()

    def answer(activity: str, argument: Any) -> Any:
        match activity:
            case name if name == CALL_MODEL:
                return model_reply(argument)
            case name if name in (RECALL, RUN_TOOL):
                return {}
            case _:
                return None

    def model_reply(call: ModelCall) -> Any:
        report.calls.append((call.step, call.model, repr(call.conversation)))
        return stub_reply(call, resolve(call.conversation, conversation("")), calling)

    def too_long(*_: object) -> None:
        raise BlockedFlow

    run_input = RunInput("dry-run", LABEL, "", ConversationRef(base="dry-run"), params)
    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, BUSY_S)
    try:
        outcome = play(
            DryRunHost, LABEL, [run_input, [task.source, task.filename]], answer, steps=STEPS
        )
    except BlockedFlow:
        outcome = Outcome(stuck=f"it computed for {BUSY_S:g} s without awaiting anything")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return outcome


def _judge(outcome: Outcome, flow: Flow, task: Task, report: Report) -> None:
    code = flow.function.__code__
    declared = f"{code.co_filename.removesuffix(f' ({LABEL})')}:{code.co_firstlineno}"
    if outcome.stuck:
        report.refused.append(
            f"{declared}: in a dry run with immediate answers, {outcome.stuck}. Limit the flow's "
            "loops, and await only methods of run, asyncio tasks and sleeps."
        )
    if outcome.failure is None:
        return
    place = outcome.line_in(LABEL)
    where = f"{place[0]}:{place[1]}" if place else declared
    failed = outcome.failure
    cause = failed.cause.application_failure_info.type
    kind = failed.application_failure_info.type
    message = failed.message.partition(f" at line {place[1]}:" if place else "\n")[0]
    message = message.removeprefix(f"Flow {LABEL} ").replace(f" {LABEL}", "")
    if kind == "RestrictedWorkflowAccessError" or cause == "RestrictedWorkflowAccessError":
        what = message.partition(" from inside")[0].removesuffix(".__call__")
        report.refused.append(
            f"{where}: {what} in a flow, because the result differs in each replay. Use run.now(), "
            "run.random(), a parameter or a tool."
        )
    elif "was cut off" in message:
        report.refused.append(f"{where}: the flow computes for seconds without awaiting anything.")
    elif kind == "flow_error" and (cause in _DEFECTS or cause in ("", "ModelError")):
        report.refused.append(f"{where}: {message}")
    else:
        reason = message if kind == "flow_error" else f"{kind}: {message}"
        report.doubts.append(f"{where}: with stub replies the flow ended with an error: {reason}")


def _place(error: Exception, filename: str) -> str:
    """Return the innermost line of the flow in ``error``'s traceback, else the file's name."""
    if isinstance(error, SyntaxError) and error.filename and f"({LABEL})" in error.filename:
        return f"{error.filename.removesuffix(f' ({LABEL})')}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"({LABEL})" in f.filename]
    if not frames:
        return filename
    return f"{frames[-1].filename.removesuffix(f' ({LABEL})')}:{frames[-1].lineno}"


def _limit() -> None:
    """Limit the resources of this process irrevocably, to protect the host from the flow.

    The flow can start no processes or threads and cannot write files.
    """
    mib = 1024 * 1024
    for kind, most in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, MEMORY_MIB * mib),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (allowed, allowed))
        except (OSError, ValueError):
            # macOS cannot limit the address space; the time limit still applies.
            continue


def main() -> None:
    """Read a Task as JSON and print its Report as JSON."""
    _limit()
    # The flow's output is not part of the report, and the SDK would log errors of the report again.
    out, sys.stdout = sys.stdout, sys.stderr
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    report = executed(Task(**json.load(sys.stdin)))
    json.dump(asdict(report), out)
    out.flush()
    # Skips the cleanup of what the flow left, which is not needed.
    os._exit(0)
