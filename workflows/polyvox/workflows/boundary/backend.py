"""What a Run stands on: recorded work, time, chance and people's decisions.

The worker implements a RunBackend with Temporal, ``testing`` in memory. A flow, and everything in
this package that it calls, reaches the world only through one. A run is executed again from its
start after a crash, so two things must hold in each RunBackend:

* The same run performs the same work in the same order, and then gets the recorded results.
* The event loop is the RunBackend's: its clock is durable, its callbacks run in one fixed order.
  Flows may therefore use asyncio's tasks, timeouts and sleeps; ``asyncio.wait`` may not be used,
  because it goes through sets, whose order differs from process to process.
"""

from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Protocol

from polyvox.workflows.conversation import Conversation

# The activities' names stand in every history and so never change.
CALL_MODEL = "call_model"
REMEMBER_TRANSCRIPT = "remember_transcript"
RUN_TOOL = "run_tool"
RECALL = "recall"
REMEMBER = "remember"
SHOW = "show"


@dataclass(frozen=True, slots=True)
class ActivityCall:
    """One piece of work outside the flow, tried up to ``attempts`` times.

    ``timeout_s`` is for one attempt. With ``heartbeat_s`` the work says that often that it lives.
    """

    activity: str
    argument: Any
    result: type
    summary: str
    timeout_s: float
    heartbeat_s: float | None = None
    attempts: int = 3


class RunBackend(Protocol):
    """See the module's head. ``run_id`` names the run everywhere."""

    @property
    def run_id(self) -> str: ...

    def now(self) -> datetime:
        """Return the time, in UTC, the same in every replay."""

    def random(self) -> Random:
        """Return a source of chance that is the same in every replay."""

    def open_conversation(self, digest: str) -> Conversation:
        """Return the stored conversation of that address."""

    async def perform(self, work: ActivityCall) -> Any:
        """Return the result of ``work``.

        Raises ModelError when it failed for good, asyncio.CancelledError when the run is ended.
        """

    async def decision(self, question: str, timeout_s: float) -> bool | None:
        """Return what somebody decided about ``question``, None if nobody did in time."""
