"""The one Temporal workflow that hosts every flow, under the flow's own name.

The workflow type is the flow version (``fusion@3``), so the Web UI and each history say which code
ran. The version is loaded by its digest, which the run's input carries: a replay years later runs
the same text. Nothing but ``Run`` stands between the flow and Temporal.
"""

import asyncio
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from polyvox.workflows.calls import RunInput
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.failures import failure, model_error
from polyvox.workflows.flow import Flow
from polyvox.workflows.reply import Reply, Usage
from polyvox.workflows.run import Run


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, for those who wait for it: exactly one of ``reply`` and ``error`` is set."""

    run_id: str
    reply: Reply | None
    error: ModelError | None
    usage: Usage = Usage()
    notes: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Hosting:
    """What the host needs of its process. Each is called in a workflow thread.

    ``open_conversation`` and ``load_flow`` are content-addressed and therefore deterministic;
    ``tell`` hears of a run's end once it really ended, not when it is replayed.
    """

    load_flow: Callable[[str], Flow]
    open_conversation: Callable[[str], Conversation]
    tell: Callable[[Ending], object]


def flow_host(hosting: Hosting) -> type:
    """Return the dynamic workflow class; the SDK makes an instance of it for each run."""

    class FlowHost:
        async def run(self, args: Sequence[RawValue]) -> Reply:
            run_input = workflow.payload_converter().from_payload(args[0].payload, RunInput)
            return await _hosted(run_input, hosting)

    # The SDK refuses classes whose names are local, because its sandbox imports workflows by name.
    # This one is never sandboxed, and being local is how it knows its process without a global.
    FlowHost.run.__qualname__ = "FlowHost.run"
    workflow.run(FlowHost.run)
    return workflow.defn(dynamic=True)(FlowHost)


async def _hosted(run_input: RunInput, hosting: Hosting) -> Reply:
    run_id = workflow.info().workflow_id
    run: Run[Any] | None = None
    reply: Reply | None = None
    error: ModelError | None = None
    try:
        flow = hosting.load_flow(run_input.digest)
        run = Run(
            run_input, flow.params.model_validate(run_input.params), hosting.open_conversation
        )
        reply = await _reply_of(flow, run)
        return reply
    except asyncio.CancelledError:
        error = ModelError("cancelled", "The run was cancelled.")
        if workflow.cancellation_reason() is not None:
            raise
        # A call was hung up on although nobody cancelled the run; Temporal would take a bare
        # CancelledError for a defect of the workflow task and try it again for ever.
        raise failure(error, retryable=False) from None
    except Exception as raised:
        error = _error_of(raised, run_input.flow)
        raise failure(error, retryable=False) from raised
    finally:
        if not workflow.unsafe.is_replaying() and (reply or error):
            usage, notes = (run.usage, tuple(run.notes)) if run else (Usage(), ())
            hosting.tell(Ending(run_id, reply, error, usage, notes))


async def _reply_of(flow: Flow, run: Run[Any]) -> Reply:
    reply = await flow.function(run)
    if not isinstance(reply, Reply):
        raise ModelError(
            "flow_error",
            f"Flow {flow.name!r} returned {type(reply).__name__} instead of a Reply.",
        )
    return reply.with_usage(run.usage)


def _error_of(raised: Exception, flow: str) -> ModelError:
    if isinstance(raised, ModelError):
        return raised
    if isinstance(raised, workflow.NondeterminismError):
        raise raised
    known = model_error(raised)
    if known.kind != "internal":
        return known
    lines = [
        frame
        for frame in traceback.extract_tb(raised.__traceback__)
        if f"({flow})" in frame.filename
    ]
    where = f" at line {lines[-1].lineno}: {lines[-1].line}" if lines else ""
    return ModelError(
        "flow_error",
        f"Flow {flow} raised {type(raised).__name__}: {raised}{where}",
        body="".join(traceback.format_list(lines)) or None,
    )
