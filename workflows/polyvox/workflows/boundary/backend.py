"""RunBackend, which gives a Run recorded activities, time, random numbers and approvals.

The worker implements it with Temporal, ``testing`` in memory. A flow, and everything in this
package that it calls, does I/O only through a RunBackend. After a crash a run is executed again
from its start, so every RunBackend must guarantee two things:

* The same run performs the same work in the same order, and then gets the recorded results.
* The RunBackend provides the event loop, with a durable clock and a fixed order of callbacks. Flows
  may therefore use asyncio's tasks, timeouts and sleeps. They may not use ``asyncio.wait``, which
  iterates over sets, whose order differs between processes.
"""

from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Protocol

from polyvox.workflows.conversation import Conversation

# The names of activities are stored in every history and must not change.
CALL_MODEL = "call_model"
REMEMBER_TRANSCRIPT = "remember_transcript"
RUN_TOOL = "run_tool"
RECALL = "recall"
REMEMBER = "remember"
SHOW = "show"


@dataclass(frozen=True, slots=True)
class ActivityCall:
    """The call of an activity, tried up to ``attempts`` times.

    ``timeout_s`` limits one attempt. With ``heartbeat_s`` an attempt fails if the activity sends no
    heartbeat for that many seconds.
    """

    activity: str
    argument: Any
    result: type
    summary: str
    timeout_s: float
    heartbeat_s: float | None = None
    attempts: int = 3


class RunBackend(Protocol):
    """The backend of one run; see the module's docstring. ``run_id`` is the run's id everywhere."""

    @property
    def run_id(self) -> str: ...

    def now(self) -> datetime:
        """Return the time, in UTC, the same in every replay."""

    def random(self) -> Random:
        """Return a random number generator that is the same in every replay."""

    def open_conversation(self, digest: str) -> Conversation:
        """Return the stored conversation with this digest."""

    async def perform(self, work: ActivityCall) -> Any:
        """Return the result of ``work``.

        Raises ModelError when all attempts failed, asyncio.CancelledError when the run is ended.
        """

    async def decision(self, question: str, timeout_s: float) -> bool | None:
        """Return the decision about ``question``, None if nobody decided within ``timeout_s``."""
