"""Executes a run's history again with the code of now, and says whether it does what it did.

The SDK's Replayer feeds the history to the host as the engine would after a crash. It notices when
other kinds of work come in another order; that a step asks another model or says other words it
does not look at, so here the work's arguments and the result are compared too.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
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
    """Whether a run's replay holds; if not, ``difference`` is the first one, in plain words."""

    run_id: str
    flow: str
    holds: bool
    work: int
    difference: str = ""


@dataclass(slots=True)
class _Heard:
    """What the flow did in the replay."""

    work: list[tuple[str, Any]] = field(default_factory=list)
    reply: Reply | None = None
    error: str | None = None


async def replay(
    history: WorkflowHistory, services: HostServices, converter: DataConverter
) -> Verdict:
    """Replay one history; ``hosting`` gives the flow's stored version and the stored bodies."""
    past = await read_history(history, converter)
    heard = _Heard()
    watchdog = Watchdog(lambda *_: None)
    try:
        with _quiet():
            failure = await _replayed(history, services, converter, heard, watchdog)
    finally:
        await asyncio.to_thread(watchdog.close)
    difference = _difference(past, heard, failure)
    return Verdict(
        history.workflow_id, past.run_input.flow, not difference, len(past.work), difference
    )


async def _replayed(
    history: WorkflowHistory,
    services: HostServices,
    converter: DataConverter,
    heard: _Heard,
    watchdog: Watchdog,
) -> Exception | None:
    replayer = Replayer(
        workflows=[flow_host(services)],
        workflow_runner=watchdog.runner(),
        data_converter=converter,
        interceptors=[_Listening(heard)],
    )
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    return result.replay_failure


def _difference(past: RunHistory, heard: _Heard, failure: Exception | None) -> str:
    if told := _work_difference(past.work, heard.work, strict=failure is not None):
        return told
    if failure is not None:
        return _plain(failure)
    if past.ended_from_outside is not None:
        return ""
    if past.reply is not None and heard.error is not None:
        return f"the run completed, the code now fails: {heard.error}"
    if past.error is not None and heard.reply is not None:
        return f"the run failed ({past.error}), the code now completes"
    if past.error is not None and heard.error is not None and past.error != heard.error:
        return f"the run failed with {past.error!r}, the code now fails with {heard.error!r}"
    if past.reply is not None and dump(past.reply) != dump(heard.reply):
        return _reply_difference(past.reply, heard.reply)
    return ""


def _work_difference(
    recorded: Sequence[Performed], heard: Sequence[tuple[str, Any]], *, strict: bool
) -> str:
    for number, (past, (activity, argument)) in enumerate(
        zip(recorded, heard, strict=False), start=1
    ):
        was, now = _told(past.activity, past.argument), _told(activity, argument)
        if was != now:
            return f"work {number}: the record has {was}, the code does {now}"
        if dump(past.argument) != dump(argument):
            return f"work {number}, {was}: the code gives it {_changed(past.argument, argument)}"
    if strict and len(heard) > len(recorded):
        return (
            f"after all {len(recorded)} recorded pieces of work the code does {_told(*heard[-1])}"
        )
    if strict and len(heard) < len(recorded):
        missing = recorded[len(heard)]
        told = _told(missing.activity, missing.argument)
        return f"work {len(heard) + 1}: the record has {told}, the code does not do it"
    return ""


def _told(activity: str, argument: Any) -> str:
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
        return "the run completed, the code comes to no end"
    if before.text != after.text:
        return f"the reply was {_short(before.text)}, the code now returns {_short(after.text)}"
    return f"the reply has {_changed(before, after)}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _plain(failure: Exception) -> str:
    told = str(failure).partition("Nondeterminism error:")[2].strip() or str(failure)
    if isinstance(failure, NondeterminismError):
        return f"the code takes another way than the record: {told}"
    return f"the replay broke off: {told}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the SDK from logging as a defect what the Verdict tells."""
    loggers = [logging.getLogger(f"temporalio.{name}") for name in ("worker", "workflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Listening(Interceptor):
    """Hears what the flow does; made for one history."""

    def __init__(self, heard: _Heard) -> None:
        self._heard = heard

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - the SDK's name
    ) -> type[WorkflowInboundInterceptor]:
        heard = self._heard

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(
                self,
                input: StartActivityInput,  # noqa: A002
            ) -> ActivityHandle[Any]:
                heard.work.append((input.activity, input.args[0] if input.args else None))
                return super().start_activity(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002
                try:
                    heard.reply = await super().execute_workflow(input)
                except Exception as error:
                    heard.error = error.message if isinstance(error, FailureError) else str(error)
                    raise
                return heard.reply

        return Inbound
