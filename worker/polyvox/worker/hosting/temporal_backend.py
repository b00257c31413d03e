"""The RunBackend in production; only this module and the host use Temporal's workflow API."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from polyvox.workflows.boundary.backend import ActivityCall
from polyvox.workflows.boundary.calls import ModelCall, ProgressPart
from polyvox.workflows.boundary.failures import model_error
from polyvox.workflows.conversation import Conversation

MOST_EVENTS = 7_000
MOST_BYTES = 16 * 1024 * 1024
"""A call that begins with a longer history is not journaled: Temporal ends a run with 51,200 events
or 50 MB, and refuses more than 10,000 signals. One call publishes at most 2,000, with 4 MiB."""


class TemporalBackend:
    """The backend of one workflow; see ``polyvox.workflows.boundary.backend.RunBackend``."""

    def __init__(self, open_conversation: Callable[[str], Conversation]) -> None:
        self.open_conversation = open_conversation
        self.questions: list[str] = []
        """The questions that wait for a decision, in the order they were asked."""
        self.seed = ""
        """The seed of random numbers if it is not this run's id; a rerun has the original run's."""
        self.journal = False
        """Whether calls that emit publish to the run's journal."""
        self._decisions: dict[str, bool] = {}
        self._chance: Random | None = None

    @property
    def run_id(self) -> str:
        return workflow.info().workflow_id

    def now(self) -> datetime:
        return workflow.now()

    def random(self) -> Random:
        if self._chance is None:
            self._chance = Random(self.seed or self.run_id)
        return self._chance

    async def perform(self, work: ActivityCall) -> Any:
        heartbeat = timedelta(seconds=work.heartbeat_s) if work.heartbeat_s else None
        try:
            return await workflow.execute_activity(
                work.activity,
                self._journaled(work.argument),
                result_type=work.result,
                summary=work.summary,
                start_to_close_timeout=timedelta(seconds=work.timeout_s),
                schedule_to_close_timeout=timedelta(seconds=2 * work.timeout_s),
                heartbeat_timeout=heartbeat,
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(milliseconds=500),
                    backoff_coefficient=2.0,
                    maximum_interval=timedelta(seconds=5),
                    maximum_attempts=work.attempts,
                ),
            )
        except ActivityError as failed:
            error = model_error(failed)
            if error.kind == "cancelled":
                # The run, or this branch of it, is being ended; the flow must not handle this.
                raise asyncio.CancelledError from failed
            raise error from failed

    def _journaled(self, argument: Any) -> Any:
        if not self.journal or not isinstance(argument, ModelCall | ProgressPart):
            return argument
        if isinstance(argument, ModelCall) and not argument.emit:
            return argument
        info = workflow.info()
        room = info.get_current_history_length() < MOST_EVENTS
        room &= info.get_current_history_size() < MOST_BYTES
        return replace(argument, journal=True) if room else argument

    def decide(self, question: str, approved: bool) -> None:
        """Store the first decision about ``question``, which may be asked later."""
        self._decisions.setdefault(question, approved)

    async def decision(self, question: str, timeout_s: float) -> bool | None:
        self.questions.append(question)
        try:
            await workflow.wait_condition(
                lambda: question in self._decisions,
                timeout=timedelta(seconds=timeout_s),
                timeout_summary=f"approve: {question[:150]}",
            )
        except TimeoutError:
            return None
        finally:
            self.questions.remove(question)
        return self._decisions[question]
