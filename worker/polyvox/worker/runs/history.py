"""Fetches a run's history from the engine and converts it to Polyvox's values.

A history contains a run's input, every model call with its reply, and the run's end.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode

from polyvox.worker.engine.trouble import engine_error
from polyvox.workflows.boundary.backend import CALL_MODEL
from polyvox.workflows.boundary.calls import ModelCall, RunInput
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply


@dataclass(frozen=True, slots=True)
class Performed:
    """An activity in a history: ``result`` is None unless it ``completed``."""

    activity: str
    argument: Any
    completed: bool
    result: Any


@dataclass(frozen=True, slots=True)
class RunHistory:
    """The contents of a run's history; at most one of ``reply`` and ``error`` is set.

    ``ended_from_outside`` is the reason if the run was terminated, or timed out in the engine.
    """

    run_input: RunInput
    work: tuple[Performed, ...]
    reply: Reply | None = None
    error: str | None = None
    ended_from_outside: str | None = None

    def answered(self) -> list[tuple[ModelCall, Reply]]:
        """Return the model calls that have a reply, in their order."""
        return [
            (work.argument, work.result)
            for work in self.work
            if work.activity == CALL_MODEL and work.completed
        ]


async def fetch_history(client: Client, run_id: str) -> WorkflowHistory:
    """Return a run's history. Raises ModelError if the engine does not have it or is down."""
    try:
        return await client.get_workflow_handle(run_id).fetch_history()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ModelError(
                "not_found",
                f"The engine has no history of run {run_id}: histories are deleted after the "
                "retention time, and a request that was refused before it ran has none.",
            ) from None
        raise engine_error(error) from None


async def read_history(history: WorkflowHistory, converter: DataConverter) -> RunHistory:
    """Read a history. Raises ModelError if it is not that of a run."""
    first = history.events[0] if history.events else HistoryEvent()
    if not first.HasField("workflow_execution_started_event_attributes"):
        raise ModelError("invalid_request", "This is not the history of a run.")
    started = first.workflow_execution_started_event_attributes
    run_input = await _one(converter, started.input.payloads, RunInput)
    work = tuple([performed async for performed in _performed(history, converter)])
    last = history.events[-1]
    reply: Reply | None = None
    error = outside = None
    match last.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            completed = last.workflow_execution_completed_event_attributes
            reply = await _one(converter, completed.result.payloads, Reply)
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            error = last.workflow_execution_failed_event_attributes.failure.message
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
            outside = last.workflow_execution_terminated_event_attributes.reason
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
            outside = "it exceeded the engine's time limit"
        case _:
            pass
    return RunHistory(run_input, work, reply, error, outside)


async def _performed(
    history: WorkflowHistory, converter: DataConverter
) -> AsyncIterator[Performed]:
    results = {
        event.activity_task_completed_event_attributes.scheduled_event_id: event
        for event in history.events
        if event.HasField("activity_task_completed_event_attributes")
    }
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            argument = await _one(converter, scheduled.input.payloads, None)
            ended = results.get(event.event_id)
            result = None
            if ended is not None:
                completed = ended.activity_task_completed_event_attributes
                result = await _one(converter, completed.result.payloads, None)
            yield Performed(scheduled.activity_type.name, argument, ended is not None, result)


async def _one(converter: DataConverter, payloads: Any, kind: type | None) -> Any:
    if not payloads:
        return None
    values = await converter.decode(payloads, [kind] if kind is not None else None)
    return values[0]
