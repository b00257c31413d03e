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
from typing import Any, get_args

from temporalio import workflow
from temporalio.common import RawValue

from polyvox.activities.live.channel import RunOutcome
from polyvox.activities.registry.parameters import mistakes, own_params
from polyvox.worker.hosting.host import HostServices, hosted
from polyvox.worker.hosting.temporal_backend import TemporalBackend
from polyvox.worker.hosting.watchdog import BlockedFlow
from polyvox.worker.registering.dry_run import Report, Task
from polyvox.worker.registering.explanations import explained
from polyvox.worker.registering.sandbox_driver import Outcome, play
from polyvox.worker.registering.stub_replies import stub_params, stub_reply
from polyvox.workflows.boundary.backend import CALL_MODEL, RECALL, REMEMBER, RUN_TOOL
from polyvox.workflows.boundary.calls import ConversationRef, ModelCall, RunInput, resolve
from polyvox.workflows.conversation import Conversation, Json, user
from polyvox.workflows.flow import Flow, FlowError
from polyvox.workflows.reply import Usage
from polyvox.workflows.source.bundle import load_bundle, unpack
from polyvox.workflows.steps.ask import Scope
from polyvox.workflows.steps.emission import NOT_IN_REPLY

QUESTION = "Which of the two designs should we take, and why?"
LABEL = "dry-run@0"

STEPS = 500
BUSY_S = 5.0

CPU_S = 25
MEMORY_MIB = 1024
OPEN_FILES = 64

REPORTED = Usage(input=10, output=10)

_NO_USAGE = (
    " (In this dry run no provider reports tokens, as some never do. Add up usages instead of "
    "their numbers, use usage.total, or handle None.)"
)

_NOT_RETURNED = (
    "step {step!r} is emitted, but the Reply of the flow does not begin with it. A client that "
    "reads the stream has it already: return the reply of this step, or ask without emit=True."
)

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
    async def run(self, args: Sequence[RawValue]) -> list[str]:
        """Run the flow; return the emitting steps that its Reply contradicts."""
        convert = workflow.payload_converter()
        run_input = convert.from_payload(args[0].payload, RunInput)
        source, filename = convert.from_payload(args[1].payload, list)
        ended: list[RunOutcome] = []
        services = HostServices(
            load_flow=lambda _: load_bundle(source, filename, LABEL),
            open_conversation=conversation,
            tell=lambda _run, _input, outcome: ended.append(outcome),
        )
        await hosted(run_input, services, self._backend)
        notes = [note for outcome in ended for note in outcome.notes]
        return [s for note in notes if note["what"] == NOT_IN_REPLY for s in note["steps"]]


def conversation(_digest: str) -> Conversation:
    """Return the client's conversation in the dry run."""
    return Conversation((user(QUESTION),))


def executed(task: Task) -> Report:
    """Load the flow and run it twice with stub replies: with and without usage. Never raises."""
    report = Report()
    try:
        flow = load_bundle(task.source, task.filename, LABEL)
        flow.params.model_json_schema()
        report.name = flow.name
    except FlowError as error:
        message = str(error).replace(f" ({LABEL})", "")
        where = _place(error, task.filename)
        message = explained(message)
        report.refused.append(message if message.startswith(where) else f"{where}: {message}")
        return report
    except Exception as error:  # noqa: BLE001 - an untrusted program may raise anything
        reason = explained(f"cannot be imported: {type(error).__name__}: {error}")
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
    own = own_params(flow.params, params)
    with _forgotten_awaits(report):
        outcome, scopes = _run(task, own, REPORTED, report.calls)
        report.refused += [
            f"{_line_of(scope, task) or task.filename}: there is no scope {scope!r}. Write "
            '"turn", "session" or "always".'
            for scope in scopes
        ]
        _judge(outcome, flow, task, report)
        if outcome.failure is None and not outcome.stuck:
            unmetered, _ = _run(task, own, Usage(), [])
            _judge(unmetered, flow, task, report, hint=_NO_USAGE)
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


def _run(
    task: Task, params: dict[str, Json], usage: Usage, calls: list[tuple[str, str, str]]
) -> tuple[Outcome, list[str]]:
    """Run the flow with stub replies that report ``usage``; add its model calls to ``calls``.

    Also return the unknown scopes in which it remembers or recalls values.
    """
    calling: set[str] = set()
    places: list[str] = []

    def answer(activity: str, argument: Any) -> Any:
        match activity:
            case name if name == CALL_MODEL:
                return model_reply(argument)
            case name if name == REMEMBER:
                places.append(argument.key)
                return None
            case name if name == RECALL:
                places.extend(argument)
                return {}
            case name if name == RUN_TOOL:
                return {}
            case _:
                return None

    def model_reply(call: ModelCall) -> Any:
        calls.append((call.step, call.model, repr(call.conversation)))
        return stub_reply(call, resolve(call.conversation, conversation("")), calling, usage)

    def too_long(*_: object) -> None:
        raise BlockedFlow

    run_input = RunInput(
        "dry-run", LABEL, "", ConversationRef(base="dry-run"), params, emitted_first=True
    )
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
    scopes = dict.fromkeys(place.partition("\0")[0] for place in places)
    return outcome, [scope for scope in scopes if scope not in get_args(Scope)]


def _judge(outcome: Outcome, flow: Flow, task: Task, report: Report, hint: str = "") -> None:
    """Add what is wrong with the run to the report; ``hint`` follows each error."""
    code = flow.function.__code__
    declared = f"{code.co_filename.removesuffix(f' ({LABEL})')}:{code.co_firstlineno}"
    if outcome.stuck:
        report.refused.append(
            f"{declared}: in a dry run with immediate answers, {outcome.stuck}. Limit the flow's "
            "loops, and await only methods of run, asyncio tasks and sleeps."
        )
    report.refused += [
        f"{_line_of(step, task) or declared}: {_NOT_RETURNED.format(step=step)}"
        for step in ([] if hint else outcome.result or [])
    ]
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
    elif kind == "flow_error" and (
        cause in _DEFECTS or cause in ("", "ModelError") or "Instance is frozen" in message
    ):
        report.refused.append(f"{where}: {explained(message, flow.params)}{hint}")
    else:
        reason = message if kind == "flow_error" else f"{kind}: {message}"
        report.doubts.append(
            f"{where}: with stub replies the flow ended with an error: "
            f"{explained(reason, flow.params)}{hint}"
        )


def _line_of(text: str, task: Task) -> str:
    """Return the first place where the source has ``text`` as a string, empty if it has not."""
    for path, source in unpack(task.source, task.filename).items():
        for number, line in enumerate(source.splitlines(), start=1):
            if f'"{text}"' in line or f"'{text}'" in line:
                shown = path if path == task.filename else f"{task.filename}/{path}"
                return f"{shown}:{number}"
    return ""


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
