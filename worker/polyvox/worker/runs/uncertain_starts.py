"""Starts of runs whose outcome the engine did not report in time.

Such a run may exist, now or when a frozen engine continues. Its client has been told that it does
not: so it is adopted if the engine already has it, and else cancelled as soon as it appears.
"""

import asyncio
import logging
from datetime import timedelta

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from polyvox.activities.live.relay import Relay
from polyvox.workflows.reply import Reply

log = logging.getLogger(__name__)

_LOOK_LIMIT = timedelta(seconds=1)
_CANCEL_LIMIT = timedelta(seconds=5)
_FIRST_PAUSE_S = 0.25
_LAST_PAUSE_S = 2.0

_ABSENT_S = 15.0
"""A request that the engine has not handled this long after it answers again is lost."""

_CERTAIN = (
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.UNIMPLEMENTED,
)


def is_uncertain(error: RPCError) -> bool:
    """Return whether a start that failed with ``error`` may have started the run."""
    return error.status not in _CERTAIN


class UncertainStarts:
    """The uncertain starts of this process. Used on the event loop only."""

    def __init__(self, client: Client, relay: Relay) -> None:
        self._client = client
        self._relay = relay
        self._ending: set[asyncio.Task[None]] = set()

    async def adopted(self, run_id: str) -> WorkflowHandle[object, Reply] | None:
        """Return the run if the engine has it."""
        handle = self._client.get_workflow_handle(run_id, result_type=Reply)
        try:
            found = await handle.describe(rpc_timeout=_LOOK_LIMIT)
        except RPCError:
            return None
        return handle if found.status is WorkflowExecutionStatus.RUNNING else None

    def give_up(self, run_id: str) -> None:
        """Cancel the run if it exists or appears; its calls do not begin in this process."""
        self._relay.hang_up(run_id)
        task = asyncio.create_task(self._end(run_id), name=f"end {run_id}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        for task in self._ending:
            task.cancel()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _end(self, run_id: str) -> None:
        handle = self._client.get_workflow_handle(run_id)
        loop = asyncio.get_running_loop()
        absent_since: float | None = None
        pause_s = _FIRST_PAUSE_S
        try:
            while absent_since is None or loop.time() - absent_since < _ABSENT_S:
                try:
                    await handle.cancel(rpc_timeout=_CANCEL_LIMIT)
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        absent_since = None
                    elif absent_since is None:
                        absent_since = loop.time()
                else:
                    log.warning(
                        "Run %s was started although the engine did not report it in time; it is "
                        "cancelled.",
                        run_id,
                    )
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)
        finally:
            self._relay.hang_ups.cancelled(run_id)
