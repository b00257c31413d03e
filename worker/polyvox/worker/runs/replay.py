"""Replays a run's history with the current code and compares the results.

The SDK's Replayer passes the history to the host as the engine would after a crash. It detects
different activities or a different order, but not another model or conversation of a step, so the
arguments of activities and the run's result are compared here.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.exceptions import FailureError
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle, NondeterminismError

from polyvox.worker.hosting.host import HostServices, flow_host
from polyvox.worker.hosting.watchdog import Watchdog
from polyvox.worker.runs.history import Performed, RunHistory, read_history
from polyvox.workflows.boundary.calls import ModelCall
from polyvox.workflows.boundary.serialization import dump
from polyvox.workflows.reply import Reply


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a replay: whether it ``holds``, else the first ``difference`` as a sentence."""

    run_id: str
    flow: str
    holds: bool
    work: int
    difference: str = ""


@dataclass(slots=True)
class _Replayed:
    """The activities and the result of the flow in the replay."""

    work: list[tuple[str, Any]] = field(default_factory=list)
    reply: Reply | None = None
    error: str | None = None


async def replay(
    history: WorkflowHistory, services: HostServices, converter: DataConverter
) -> Verdict:
    """Replay one history; ``services`` loads the flow's stored version and conversations."""
    past = await read_history(history, converter)
    replayed = _Replayed()
    watchdog = Watchdog(lambda *_: None)
    try:
        with _quiet():
            failure = await _run_replayer(history, services, converter, replayed, watchdog)
    finally:
        await asyncio.to_thread(watchdog.close)
    difference = _difference(past, replayed, failure)
    return Verdict(
        history.workflow_id, past.run_input.flow, not difference, len(past.work), difference
    )


async def _run_replayer(
    history: WorkflowHistory,
    services: HostServices,
    converter: DataConverter,
    replayed: _Replayed,
    watchdog: Watchdog,
) -> Exception | None:
    replayer = Replayer(
        workflows=[flow_host(services)],
        workflow_runner=watchdog.runner(),
        data_converter=converter,
        interceptors=[_Recording(replayed)],
    )
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    return result.replay_failure


def _difference(past: RunHistory, replayed: _Replayed, failure: Exception | None) -> str:
    if found := _work_difference(past.work, replayed.work, strict=failure is not None):
        return found
    if failure is not None:
        return _plain(failure)
    if past.ended_from_outside is not None:
        return ""
    if past.reply is not None and replayed.error is not None:
        return f"the run completed, the code now fails: {replayed.error}"
    if past.error is not None and replayed.reply is not None:
        return f"the run failed ({past.error}), the code now completes"
    if past.error is not None and replayed.error is not None and past.error != replayed.error:
        return f"the run failed with {past.error!r}, the code now fails with {replayed.error!r}"
    if past.reply is not None and dump(past.reply) != dump(replayed.reply):
        return _reply_difference(past.reply, replayed.reply)
    return ""


def _work_difference(
    recorded: Sequence[Performed], replayed: Sequence[tuple[str, Any]], *, strict: bool
) -> str:
    for number, (past, (activity, argument)) in enumerate(
        zip(recorded, replayed, strict=False), start=1
    ):
        was, now = _described(past.activity, past.argument), _described(activity, argument)
        if was != now:
            return f"work {number}: the record has {was}, the code does {now}"
        before, after = _compared(past.argument), _compared(argument)
        if dump(before) != dump(after):
            return f"work {number}, {was}: the code gives it {_changed(before, after)}"
    if strict and len(replayed) > len(recorded):
        extra = _described(*replayed[-1])
        return f"after all {len(recorded)} recorded activities the code does {extra}"
    if strict and len(replayed) < len(recorded):
        missing = recorded[len(replayed)]
        was = _described(missing.activity, missing.argument)
        return f"work {len(replayed) + 1}: the record has {was}, the code does not do it"
    return ""


def _compared(argument: Any) -> Any:
    """Return the argument without what a step is not compared by: the key is the run's own."""
    return replace(argument, key_id="") if isinstance(argument, ModelCall) else argument


def _described(activity: str, argument: Any) -> str:
    if isinstance(argument, ModelCall):
        return f"step {argument.step!r} asking {argument.model}"
    return activity


def _changed(before: Any, after: Any) -> str:
    """Name the first member in which two arguments of the same step differ."""
    one, other = dump(before), dump(after)
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        return f"another {names[0].replace('_', ' ')}" if names else "something else"
    return "something else"


def _reply_difference(before: Reply, after: Reply | None) -> str:
    if after is None:
        return "the run completed, the code does not end"
    if before.text != after.text:
        return f"the reply was {_short(before.text)}, the code now returns {_short(after.text)}"
    return f"the reply has {_changed(before, after)}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _plain(failure: Exception) -> str:
    message = str(failure).partition("Nondeterminism error:")[2].strip() or str(failure)
    if isinstance(failure, NondeterminismError):
        return f"the code differs from the record: {message}"
    return f"the replay failed: {message}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the SDK's logs of differences, which the Verdict reports."""
    loggers = [logging.getLogger(f"temporalio.{name}") for name in ("worker", "workflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Recording(Interceptor):
    """Records what the flow does; used for one history."""

    def __init__(self, replayed: _Replayed) -> None:
        self._replayed = replayed

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - the SDK's name
    ) -> type[WorkflowInboundInterceptor]:
        replayed = self._replayed

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(
                self,
                input: StartActivityInput,  # noqa: A002
            ) -> ActivityHandle[Any]:
                replayed.work.append((input.activity, input.args[0] if input.args else None))
                return super().start_activity(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002
                try:
                    replayed.reply = await super().execute_workflow(input)
                except Exception as error:
                    replayed.error = (
                        error.message if isinstance(error, FailureError) else str(error)
                    )
                    raise
                return replayed.reply

        return Inbound
