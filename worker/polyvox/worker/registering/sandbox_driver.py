"""Runs one workflow in Temporal's sandbox without a server, for a dry run.

It activates the workflow as the SDK's core does, completes activities in the order in which they
were scheduled, and fires timers when nothing else is due.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.common import Priority, TypedSearchAttributes
from temporalio.converter import DefaultFailureConverter
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from polyvox.worker.hosting.payloads import ValuePayloadConverter

_START = datetime(2030, 1, 1, tzinfo=UTC)

Answer = Callable[[str, Any], Any]
"""Returns the result of an activity by its name and argument."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run: ``failure`` if the flow failed, ``stuck`` if it did not end.

    ``result`` is what the host returned.
    """

    failure: Failure | None = None
    stuck: str = ""
    result: Any = None

    def line_in(self, label: str) -> tuple[str, int] | None:
        """Return file and line of the innermost frame whose file's name ends with ``label``."""
        text = str(self.failure).replace('\\\\"', '"').replace('\\"', '"') if self.failure else ""
        frames = re.findall(rf'File "([^"]*?) \({re.escape(label)}\)", line (\d+)', text)
        return (frames[-1][0], int(frames[-1][1])) if frames else None


@dataclass(slots=True)
class _Due:
    """What the workflow waits for: activities by number, and the times of timers by number."""

    work: deque[tuple[int, str, Payload | None]] = field(default_factory=deque)
    timers: dict[int, datetime] = field(default_factory=dict)
    outcome: Outcome | None = None


def play(host: type, kind: str, arguments: list[Any], answer: Answer, *, steps: int) -> Outcome:
    """Run ``host`` as a workflow of type ``kind`` for at most ``steps`` activations."""
    convert = ValuePayloadConverter()
    instance = _sandboxed(host, kind)
    now, due = _START, _Due()
    act = _activation(now)
    start = act.jobs.add().initialize_workflow
    start.workflow_type, start.workflow_id, start.randomness_seed = kind, "dry-run", 1
    start.arguments.extend(convert.to_payloads(arguments))
    _take(instance.activate(act), now, due)
    for _ in range(steps):
        if due.outcome is not None:
            return due.outcome
        if due.work:
            seq, name, payload = due.work.popleft()
            act = _activation(now)
            result = answer(name, convert.from_payload(payload) if payload else None)
            resolved = act.jobs.add().resolve_activity
            resolved.seq = seq
            resolved.result.completed.result.CopyFrom(convert.to_payload(result))
        elif due.timers:
            seq = min(due.timers, key=lambda timer: (due.timers[timer], timer))
            now = max(now, due.timers.pop(seq))
            act = _activation(now)
            act.jobs.add().fire_timer.seq = seq
        else:
            return Outcome(stuck="it waits for something that never happens")
        _take(instance.activate(act), now, due)
    return due.outcome or Outcome(stuck=f"it had not ended after {steps} steps")


def _sandboxed(host: type, kind: str) -> WorkflowInstance:
    restrictions = SandboxRestrictions.default.with_passthrough_modules("polyvox", "zipfile")
    info = workflow.Info(
        attempt=1,
        continued_run_id=None,
        cron_schedule=None,
        execution_timeout=None,
        first_execution_run_id="dry-run",
        headers={},
        namespace="dry-run",
        original_execution_run_id="dry-run",
        parent=None,
        priority=Priority.default,
        raw_memo={},
        retry_policy=None,
        root=None,
        run_id="dry-run",
        run_timeout=None,
        search_attributes={},
        start_time=_START,
        task_queue="dry-run",
        task_timeout=timedelta(seconds=10),
        typed_search_attributes=TypedSearchAttributes.empty,
        workflow_id="dry-run",
        workflow_start_time=_START,
        workflow_type=kind,
    )
    details = WorkflowInstanceDetails(
        payload_converter_factory=ValuePayloadConverter,
        failure_converter_class=DefaultFailureConverter,
        interceptor_classes=[],
        defn=workflow._Definition.must_from_class(host),
        info=info,
        randomness_seed=1,
        extern_functions={},
        disable_eager_activity_execution=False,
        worker_level_failure_exception_types=[],
        patch_activation_callback=None,
        last_completion_result=Payloads(),
        last_failure=None,
    )

    async def made() -> WorkflowInstance:
        return SandboxedWorkflowRunner(restrictions).create_instance(details)

    # The instance is created on an event loop and activated on a thread without one.
    return asyncio.run(made())


def _activation(now: datetime) -> WorkflowActivation:
    act = WorkflowActivation(run_id="dry-run", history_length=1)
    act.timestamp.FromDatetime(now)
    return act


def _take(completion: WorkflowActivationCompletion, now: datetime, due: _Due) -> None:
    """Add what the workflow scheduled to ``due``."""
    if completion.HasField("failed"):
        due.outcome = Outcome(completion.failed.failure)
        return
    for command in completion.successful.commands:
        if command.HasField("schedule_activity"):
            work = command.schedule_activity
            argument = work.arguments[0] if work.arguments else None
            due.work.append((work.seq, work.activity_type, argument))
        elif command.HasField("start_timer"):
            wait = command.start_timer.start_to_fire_timeout.ToTimedelta()
            due.timers[command.start_timer.seq] = now + wait
        elif command.HasField("cancel_timer"):
            due.timers.pop(command.cancel_timer.seq, None)
        elif command.HasField("request_cancel_activity"):
            gone = command.request_cancel_activity.seq
            due.work = deque(work for work in due.work if work[0] != gone)
        elif command.HasField("complete_workflow_execution"):
            result = command.complete_workflow_execution.result
            due.outcome = Outcome(result=ValuePayloadConverter().from_payload(result))
        elif command.HasField("fail_workflow_execution"):
            due.outcome = Outcome(command.fail_workflow_execution.failure)
