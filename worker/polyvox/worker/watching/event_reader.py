"""Turns the history of a run, event by event, into what people watch.

The history alone determines the result, so every process reads the same events with the same
places, while the run is going on and later. ``emitted_text`` follows the text of each call.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from polyvox.worker.hosting.host import WATCH
from polyvox.worker.watching.emitted_text import EmittedText
from polyvox.worker.watching.journal_signals import JournalSignals
from polyvox.worker.watching.run_events import (
    Happening,
    JournalStopped,
    Problem,
    RunBegan,
    RunEnd,
    StepBegan,
    StepEnded,
    tokens_of,
)
from polyvox.workflows.boundary.calls import ModelCall, ProgressPart, RunInput, ToolUse
from polyvox.workflows.boundary.failures import model_error
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply
from polyvox.workflows.steps.emission import visible_parts

_TOO_LONG = "The run's history is too long for more of its text."


@dataclass(slots=True)
class _Activity:
    """An activity that has not ended; ``work`` is its argument."""

    call: str
    work: Any
    began: datetime
    text: EmittedText
    attempt: int = 1


@dataclass(slots=True)
class EventReader:
    """Reads the history of one run in order. ``journaled`` is whether its journal was turned on."""

    run_id: str
    converter: DataConverter
    journaled: bool = False
    _began: datetime | None = None
    _activities: dict[int, _Activity] = field(default_factory=dict)
    _texts: dict[str, EmittedText] = field(default_factory=dict)
    _signals: JournalSignals = field(init=False)

    def __post_init__(self) -> None:
        self._signals = JournalSignals(self.converter)

    async def read(self, event: HistoryEvent) -> list[Happening]:
        """Return what a history event means for people; most mean nothing."""
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            self._attempted(event)
        read = _READERS.get(event.event_type)
        return [what async for what in read(self, event)] if read is not None else []

    async def _started(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        attributes = event.workflow_execution_started_event_attributes
        run_input: RunInput = await self._value(attributes.input)
        self._began = time_of(event)
        self.journaled = run_input.journal
        yield RunBegan(self.run_id, run_input.model, run_input.flow)

    async def _scheduled(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        attributes = event.activity_task_scheduled_event_attributes
        work = await self._value(attributes.input)
        call = attributes.activity_id
        text = self._texts.setdefault(call, EmittedText(call))
        self._activities[event.event_id] = _Activity(call, work, time_of(event), text)
        match work:
            case ModelCall():
                yield StepBegan(call, work.step, model=work.model, emits=work.emit)
                if work.emit and self.journaled and not work.journal:
                    yield JournalStopped(call, _TOO_LONG)
            case ToolUse():
                yield StepBegan(call, work.name, tool=work.name)

    def _attempted(self, event: HistoryEvent) -> None:
        attributes = event.activity_task_started_event_attributes
        if (begun := self._activities.get(attributes.scheduled_event_id)) is not None:
            begun.attempt = attributes.attempt

    async def _completed(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        attributes = event.activity_task_completed_event_attributes
        ended = self._activities.pop(attributes.scheduled_event_id)
        match ended.work:
            case ModelCall() as call:
                reply: Reply = await self._value(attributes.result)
                if call.emit:
                    parts = visible_parts(reply, call.hidden, hold_calls=call.hold_calls)
                    for what in ended.text.completed(parts, ended.attempt):
                        yield what
                yield StepEnded(
                    ended.call,
                    "completed",
                    ended.attempt,
                    _duration_ms(ended.began, event),
                    tokens_of(reply.usage),
                    reply.cost_usd,
                    reply.finish,
                )
            case ProgressPart(part=part):
                for what in ended.text.completed([part], ended.attempt):
                    yield what
            case ToolUse():
                took = _duration_ms(ended.began, event)
                yield StepEnded(ended.call, "completed", ended.attempt, took)

    async def _failed(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        if event.HasField("activity_task_failed_event_attributes"):
            failed = event.activity_task_failed_event_attributes
            scheduled, failure = failed.scheduled_event_id, failed.failure
        else:
            late = event.activity_task_timed_out_event_attributes
            scheduled, failure = late.scheduled_event_id, late.failure
        ended = self._activities.pop(scheduled)
        if isinstance(ended.work, ModelCall | ToolUse):
            error = await self._error(failure)
            yield StepEnded(
                ended.call,
                "cancelled" if error.kind == "cancelled" else "failed",
                ended.attempt,
                _duration_ms(ended.began, event),
                cost_usd=error.cost_usd,
                error=Problem(error.kind, error.message),
            )

    async def _cancelled(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        attributes = event.activity_task_canceled_event_attributes
        ended = self._activities.pop(attributes.scheduled_event_id)
        if isinstance(ended.work, ModelCall | ToolUse):
            took = _duration_ms(ended.began, event)
            yield StepEnded(ended.call, "cancelled", ended.attempt, took)

    async def _signaled(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        if event.workflow_execution_signaled_event_attributes.signal_name == WATCH:
            self.journaled = True
        for entry in await self._signals.entries(event):
            text = self._texts.setdefault(entry["call"], EmittedText(entry["call"]))
            for what in text.entry(entry):
                yield what

    async def _run_completed(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        attributes = event.workflow_execution_completed_event_attributes
        reply: Reply = await self._value(attributes.result)
        yield RunEnd(
            "completed",
            _duration_ms(self._began, event),
            reply.text,
            tokens_of(reply.usage),
            reply.cost_usd,
            reply.finish,
        )

    async def _run_failed(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        failure = event.workflow_execution_failed_event_attributes.failure
        error = await self._error(failure)
        yield self._end(event, "cancelled" if error.kind == "cancelled" else "failed", error)

    async def _run_cancelled(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        yield self._end(event, "cancelled", ModelError("cancelled", "The run was cancelled."))

    async def _run_terminated(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        reason = event.workflow_execution_terminated_event_attributes.reason
        yield self._end(event, "cancelled", ModelError("cancelled", reason))

    async def _run_timed_out(self, event: HistoryEvent) -> AsyncIterator[Happening]:
        late = ModelError("timeout", "The run exceeded the engine's time limit.")
        yield self._end(event, "failed", late)

    def _end(self, event: HistoryEvent, status: str, error: ModelError) -> RunEnd:
        took = _duration_ms(self._began, event)
        return RunEnd(status, took, error=Problem(error.kind, error.message))

    async def _value(self, payloads: Any) -> Any:
        values = await self.converter.decode(payloads.payloads)
        return values[0] if values else None

    async def _error(self, failure: Any) -> ModelError:
        return model_error(await self.converter.decode_failure(failure))


def time_of(event: HistoryEvent) -> datetime:
    """Return when the engine wrote a history event."""
    return event.event_time.ToDatetime(tzinfo=UTC)


def _duration_ms(began: datetime | None, event: HistoryEvent) -> int | None:
    return None if began is None else round((time_of(event) - began) / timedelta(milliseconds=1))


_Read = Callable[[EventReader, HistoryEvent], AsyncIterator[Happening]]

_READERS: Mapping[int, _Read] = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: EventReader._started,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: EventReader._scheduled,
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: EventReader._completed,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: EventReader._failed,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: EventReader._failed,
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: EventReader._cancelled,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: EventReader._signaled,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: EventReader._run_completed,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: EventReader._run_failed,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: EventReader._run_cancelled,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: EventReader._run_terminated,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: EventReader._run_timed_out,
}
