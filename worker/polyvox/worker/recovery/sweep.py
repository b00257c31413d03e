"""The sweep: every second one process looks for what dead processes left, and settles it.

* Running calls of a dead process become interrupted, and the engine makes their next attempt at
  once instead of when it misses heartbeats.
* Runs that ended in the engine while nobody could record it get their end.
* Runs whose client's process is dead and whose answer cannot be fetched later are cancelled, if no
  retry of the client attaches to them for ``orphans_s``.
* Finished Replies of runs that have ended are deleted.

The oldest living process with a worker sweeps. If two do, nothing is done twice: a run keeps its
first end, and what is interrupted or deleted stays so.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice.v1 import RespondActivityTaskFailedByIdRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from polyvox.activities.ledger.entries import EndStatus, RunEnded
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.processes import Processes
from polyvox.activities.ledger.unfinished import Unfinished, UnfinishedRun
from polyvox.workflows.boundary.failures import failure
from polyvox.workflows.errors import ModelError

SWEEP_S = 1.0

_ALL_S = 60.0
"""How often all runs are compared with the engine, also if no process died."""

_OWN_END_S = 5.0
"""The time in which a living process records the end of a run by itself."""

_START_S = 30.0
"""A run that the engine does not know after this time was never started."""

_AT_ONCE = 20
_RPC_LIMIT = timedelta(seconds=5)

_STATUS: dict[WorkflowExecutionStatus, EndStatus] = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "cancelled",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
}

_HELD = (
    PendingActivityState.PENDING_ACTIVITY_STATE_STARTED,
    PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED,
)

log = logging.getLogger(__name__)


class Sweep:
    """Settles the runs and calls of dead processes. A negative ``orphans_s`` ends no run."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        unfinished: Unfinished,
        processes: Processes,
        *,
        orphans_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._unfinished = unfinished
        self._processes = processes
        self._orphans_s = orphans_s
        self._clock = clock
        self._started = False
        self._compared_at = clock()
        self._failure: Failure | None = None
        # Since when a run is known to be without its client, or to have ended in the engine.
        self._orphaned: dict[str, float] = {}
        self._closed: dict[str, float] = {}

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                if await self._leads():
                    await self.sweep()
            except (ModelError, RPCError) as error:
                log.warning("Cannot look for the runs of dead processes: %s", error)
            except Exception:
                log.exception("The sweep failed")

    async def _leads(self) -> bool:
        workers = [each for each in await self._processes.living() if each.role != "gateway"]
        return bool(workers) and workers[0].process_id == self._processes.process_id

    async def sweep(self) -> None:
        """Look once. Raises ModelError if the database fails, RPCError if the engine does."""
        dead = await self._processes.dead()
        first, self._started = not self._started, True
        if first:
            await self._unfinished.interrupt_unregistered()
        if dead:
            log.warning("Processes are dead: %s", ", ".join(dead))
            await self._unfinished.interrupt(dead)
        await self._ledger.flush()
        runs = await self._unfinished.runs()
        gone = await self._processes.gone({run.listener for run in runs if run.listener})
        self._keep_times(runs)
        every = first or bool(dead) or self._clock() - self._compared_at > _ALL_S
        if every:
            self._compared_at = self._clock()
            await self._unfinished.forget_replies()
        left = [run for run in runs if run.listener in gone]
        own = first and self._processes.alone
        await _each(self._compare(run, gone, alone=own) for run in (runs if every else left))
        await self._processes.forget(dead)

    def _keep_times(self, runs: Sequence[UnfinishedRun]) -> None:
        """Forget the times of runs that have ended."""
        running = {run.run_id for run in runs}
        for times in (self._orphaned, self._closed):
            for run_id in times.keys() - running:
                del times[run_id]

    async def _compare(self, run: UnfinishedRun, gone: set[str], *, alone: bool) -> None:
        """Compare a run in the ledger with what the engine knows of it."""
        left = run.listener in gone
        try:
            found = await self._client.get_workflow_handle(run.run_id).describe(
                rpc_timeout=_RPC_LIMIT
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                log.warning("Cannot get the state of run %s from the engine: %s", run.run_id, error)
            elif left or datetime.now(UTC) - run.started_at > timedelta(seconds=_START_S):
                self._settle(run.run_id, "failed", datetime.now(UTC), workflow=False)
            return
        status = _STATUS.get(found.status) if found.status is not None else None
        if status is not None:
            since = self._closed.setdefault(run.run_id, self._clock())
            # Its own process comes first, except at the start of the only one.
            if alone or self._clock() - since >= _OWN_END_S:
                self._settle(run.run_id, status, found.close_time or datetime.now(UTC))
            return
        await self._fail_calls(found)
        if left and not run.fetchable:
            await self._end_orphan(run.run_id)
        else:
            self._orphaned.pop(run.run_id, None)

    def _settle(
        self, run_id: str, status: EndStatus, ended_at: datetime, *, workflow: bool = True
    ) -> None:
        notes = ({"what": "the program died before it recorded this run's end"},)
        self._ledger.record(
            RunEnded(
                run_id=run_id, status=status, ended_at=ended_at, notes=notes, workflow=workflow
            )
        )

    async def _end_orphan(self, run_id: str) -> None:
        since = self._orphaned.setdefault(run_id, self._clock())
        if self._orphans_s < 0 or self._clock() - since < self._orphans_s:
            return
        log.warning("Run %s is cancelled: its client is gone, and nobody can get it", run_id)
        await self._client.get_workflow_handle(run_id).cancel(rpc_timeout=_RPC_LIMIT)

    async def _fail_calls(self, found: WorkflowExecutionDescription) -> None:
        """End the attempts of dead processes, so that the engine makes the next ones now."""
        held = {
            activity.activity_id: activity.last_worker_identity
            for activity in found.raw_description.pending_activities
            if activity.state in _HELD
        }
        gone = await self._processes.gone({name for name in held.values() if is_process(name)})
        for activity_id in [each for each, holder in held.items() if holder in gone]:
            try:
                await self._client.workflow_service.respond_activity_task_failed_by_id(
                    RespondActivityTaskFailedByIdRequest(
                        namespace=self._client.namespace,
                        workflow_id=found.id,
                        run_id=found.run_id,
                        activity_id=activity_id,
                        failure=await self._died(),
                        identity=self._processes.process_id,
                    ),
                    timeout=_RPC_LIMIT,
                )
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # it has just ended
                    raise

    async def _died(self) -> Failure:
        if self._failure is None:
            died = ModelError("unreachable", "The process that made this attempt died.")
            self._failure = Failure()
            await self._client.data_converter.encode_failure(
                failure(died, retryable=True), self._failure
            )
        return self._failure


def is_process(identity: str) -> bool:
    """Return whether a Temporal identity is the id of a process of the register."""
    return identity.startswith("p_")


async def _each(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of ``work``, some at once. The first error is raised after the others were tried."""
    permits = asyncio.Semaphore(_AT_ONCE)

    async def one(part: Coroutine[Any, Any, None]) -> None:
        async with permits:
            await part

    results = await asyncio.gather(*map(one, work), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
