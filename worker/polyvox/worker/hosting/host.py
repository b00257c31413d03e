"""The Temporal workflow that hosts every flow, under the flow's name.

The workflow type is the flow version (``fusion@3``), so the Web UI and each history show which code
ran. The version is loaded by its digest, which is part of the run's input: a replay years later
runs the same source. Only ``Run`` is between the flow and Temporal.
"""

import asyncio
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.contrib.workflow_streams import WorkflowStream

from polyvox.activities.live.channel import RunOutcome
from polyvox.worker.hosting.temporal_backend import TemporalBackend
from polyvox.worker.hosting.watchdog import BlockedFlow, blocked
from polyvox.workflows.boundary.calls import RunInput
from polyvox.workflows.boundary.failures import failure, model_error
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import Flow, reply_from
from polyvox.workflows.reply import Reply, Usage
from polyvox.workflows.run import Run

APPROVE = "approve"
"""The signal that answers a question; its arguments are the question and whether it is approved."""

WATCH = "watch"
"""The signal that turns the run's journal on."""

QUESTIONS = "questions"
"""The query for the open questions of a run."""


@dataclass(frozen=True, slots=True)
class HostServices:
    """The functions of the process that the host calls, each in a workflow thread.

    ``open_conversation`` and ``load_flow`` are content-addressed and therefore deterministic.
    ``tell`` gets the id, the input and the outcome of each run that ends, ``watch`` the id of each
    run that somebody begins to watch, but not in a replay.
    """

    load_flow: Callable[[str], Flow]
    open_conversation: Callable[[str], Conversation]
    tell: Callable[[str, RunInput, RunOutcome], object]
    watch: Callable[[str], object] = lambda _: None


class _Stream(WorkflowStream):
    """The stream of a journaled run. Making one takes 0.4 ms, which other runs do not need.

    The SDK wants it made in an ``__init__``, so that no signal comes before its handler. It is made
    before the flow's first step, or when somebody begins to watch the run; until then the SDK keeps
    what is published.
    """

    def __init__(self) -> None:
        super().__init__()


def flow_host(services: HostServices) -> type:
    """Return the dynamic workflow class; the SDK creates an instance for each run."""

    class FlowHost:
        def __init__(self) -> None:
            self._backend = TemporalBackend(services.open_conversation)
            self._stream: _Stream | None = None

        async def run(self, args: Sequence[RawValue]) -> Reply:
            run_input = workflow.payload_converter().from_payload(args[0].payload, RunInput)
            if run_input.journal:
                self._open_stream()
            try:
                reply = await hosted(run_input, services, self._backend)
            except Exception:
                await self._release_readers()
                raise
            await self._release_readers()
            return reply

        def _open_stream(self) -> None:
            if self._stream is None:
                self._stream = _Stream()

        async def _release_readers(self) -> None:
            """Answer the subscribers that wait for more; without any, do nothing."""
            if self._stream is not None and not workflow.all_handlers_finished():
                self._stream.detach_pollers()
                await workflow.wait_condition(workflow.all_handlers_finished)

        @workflow.signal(name=WATCH)
        def watch(self) -> None:
            self._open_stream()
            self._backend.journal = True
            if not workflow.unsafe.is_replaying():
                services.watch(self._backend.run_id)

        @workflow.signal(name=APPROVE)
        def approve(self, question: str, approved: bool) -> None:
            self._backend.decide(question, approved)

        @workflow.query(name=QUESTIONS)
        def questions(self) -> list[str]:
            return self._backend.questions

    # The SDK rejects local classes, because its sandbox imports workflows by name. This class is
    # not sandboxed, and it is local so that it can use ``services`` without a global variable.
    FlowHost.run.__qualname__ = "FlowHost.run"
    workflow.run(FlowHost.run)
    return workflow.defn(dynamic=True)(FlowHost)


async def hosted(run_input: RunInput, services: HostServices, backend: TemporalBackend) -> Reply:
    """Run the flow of ``run_input`` on ``backend``; errors become typed workflow failures."""
    run_id = backend.run_id
    run: Run[Any] | None = None
    reply: Reply | None = None
    error: ModelError | None = None
    backend.seed = run_input.seed
    backend.journal |= run_input.journal
    try:
        flow = services.load_flow(run_input.digest)
        run = Run(backend, run_input, flow.params.model_validate(run_input.params))
        reply = await _reply_of(flow, run, run_input.limits.deadline_s)
        return reply
    except asyncio.CancelledError:
        error = ModelError("cancelled", "The run was cancelled.")
        if workflow.cancellation_reason() is not None:
            raise
        # A call was cancelled but not the run. Temporal would treat a bare CancelledError as a
        # defect of the workflow task and retry it forever.
        raise failure(error, retryable=False) from None
    except BlockedFlow as cut:
        lines = _own_lines(cut, run_input.flow)
        error = blocked(run_input.flow, _place(lines))
        error.body = _trace(lines)
        raise failure(error, retryable=False) from None
    except Exception as raised:
        error = _error_of(raised, run_input.flow)
        raise failure(error, retryable=False) from raised
    finally:
        if not workflow.unsafe.is_replaying() and (reply or error):
            usage, notes = (run.usage, tuple(run.notes)) if run else (Usage(), ())
            outcome = RunOutcome(reply, error, usage, notes)
            services.tell(run_id, run_input, outcome)


async def _reply_of(flow: Flow, run: Run[Any], deadline_s: float | None) -> Reply:
    # Without a deadline there is no timer in the history; the engine's limit still applies.
    deadline = asyncio.timeout(deadline_s)
    try:
        async with deadline:
            returned = await flow.function(run)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise ModelError(
            "timeout", f"The run took longer than its limit deadline_s = {deadline_s:g} allows."
        ) from None
    return run.finished(reply_from(flow, returned))


def _error_of(raised: Exception, flow: str) -> ModelError:
    lines = _own_lines(raised, flow)
    if isinstance(raised, ModelError):
        if raised.kind == "flow_error" and raised.body is None:
            raised.body = _trace(lines)
        return raised
    if isinstance(raised, workflow.NondeterminismError):
        raise raised
    known = model_error(raised)
    if known.kind != "internal":
        return known
    where = f" at {_place(lines)}" if lines else ""
    return ModelError(
        "flow_error",
        f"Flow {flow} raised {type(raised).__name__}: {raised}{where}",
        body=_trace(lines),
    )


def _own_lines(raised: BaseException, flow: str) -> list[traceback.FrameSummary]:
    """Return the flow's frames of a traceback, outermost first."""
    frames = traceback.extract_tb(raised.__traceback__)
    return [frame for frame in frames if f"({flow})" in frame.filename]


def _place(lines: Sequence[traceback.FrameSummary]) -> str:
    return f"line {lines[-1].lineno}: {lines[-1].line}" if lines else ""


def _trace(lines: Sequence[traceback.FrameSummary]) -> str | None:
    return "".join(traceback.format_list(lines)) or None
