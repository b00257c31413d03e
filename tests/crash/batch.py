"""Runs a batch: brings each cell to its point, kills, recovers, and waits until all has ended.

The order keeps every cell exactly at its point: the provider holds its answers; then the engine is
frozen with SIGSTOP, so that answers that end now are read by the worker and their results do not
reach the engine, and requests that arrive now are received and their runs do not start.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from tests.crash import records
from tests.crash.asking import Asker, Seen, second_body, wants_tool
from tests.crash.cells import Batch, Cell
from tests.crash.cluster_deployment import ClusterDeployment
from tests.crash.configuration import configuration, connections_before_start
from tests.crash.deployments import DEPLOYMENTS, KEY, Deployment
from tests.crash.processes import SUPERVISOR_S, resume
from tests.crash.upstream import Request, Upstream

REACH_LIMIT_S = 45.0
END_LIMIT_S = 90.0
SETTLE_S = 1.0
"""The time the ledger has to write the rows of runs that have ended."""

NOTICE_S = 0.1
"""The time the provider has to notice that the other side of its connections has died."""

RECORD_LIMIT_S = 0.5
"""The time a call that has ended has to be recorded before the kill. It need not be."""

RECEIVE_LIMIT_S = 3.0
"""The time a gateway has to record a run while the engine is frozen."""

POLL_S = 0.05

AnyDeployment = Deployment | ClusterDeployment


@dataclass(slots=True)
class Outcome:
    """Everything that was observed; times are seconds since the epoch."""

    batch: Batch
    killed_at: float
    ready_at: float
    seen: dict[str, Seen]
    second: dict[str, Seen]
    requests: list[Request]
    runs: dict[str, records.Run]
    workflows: dict[str, records.Workflow]
    unreached: set[str] = field(default_factory=set)
    all_ended: bool = True


def run_batch(batch: Batch, folder: Path) -> Outcome:
    """Run ``batch`` with everything it needs in ``folder``."""
    upstream = Upstream(folder)
    (folder / "polyvox.toml").write_text(configuration(batch.cells, upstream), "utf-8")
    upstream.start()
    try:
        with _deployed(batch, folder) as deployment:
            return _Run(batch, upstream, deployment).outcome()
    finally:
        upstream.stop()


@contextmanager
def _deployed(batch: Batch, folder: Path) -> Iterator[AnyDeployment]:
    known: dict[str, Callable[[Path], AnyDeployment]] = {
        **DEPLOYMENTS,
        "cluster": ClusterDeployment,
    }
    deployment = known[batch.deployment](folder)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.close()


class _Run:
    """One run of a batch."""

    def __init__(self, batch: Batch, upstream: Upstream, deployment: AnyDeployment) -> None:
        self.batch = batch
        self.upstream = upstream
        self.deployment = deployment
        self.askers = {cell.mark: Asker(cell, deployment.base_url, KEY) for cell in batch.cells}
        self.unreached: set[str] = set()

    def outcome(self) -> Outcome:
        self._reach_held_points()
        self.deployment.start_spares()
        frozen = self._reach_frozen_points()
        self._raise_storm()
        killed_at = self._kill()
        time.sleep(NOTICE_S)
        if frozen is not None:
            resume(frozen)
        if self.batch.victim == "upstream":
            time.sleep(SUPERVISOR_S)
            self.upstream.start(is_open=True)
        else:
            self.upstream.open()
        ready_at = self.deployment.recover()
        second = self._follow_up()
        all_ended = self._wait_for_ends(second)
        fetching = [
            threading.Thread(target=asker.fetch, args=(10.0,)) for asker in self.askers.values()
        ]
        for thread in fetching:
            thread.start()
        for thread in fetching:
            thread.join()
        time.sleep(SETTLE_S)
        return Outcome(
            self.batch,
            killed_at,
            ready_at,
            {mark: asker.seen for mark, asker in self.askers.items()},
            {mark: asker.seen for mark, asker in second.items()},
            self.upstream.requests(),
            self._ledger(),
            records.workflows(self.deployment.engine_address()),
            self.unreached,
            all_ended,
        )

    def _reach_held_points(self) -> None:
        cells = [c for c in self.batch.cells if c.point not in ("received", "asking")]
        self.upstream.hold(dict(hold for cell in cells if (hold := cell.hold)))
        for cell in cells:
            self.askers[cell.mark].start()
        expected = connections_before_start(cells)
        deadline = time.monotonic() + REACH_LIMIT_S
        waiting = list(cells)
        while waiting and time.monotonic() < deadline:
            held = {request.mark for request in self.upstream.requests() if request.held}
            all_connected = self.upstream.connected() >= expected
            completed = self._completed_models()
            waiting = [
                cell
                for cell in waiting
                if not self._is_at_point(cell, held, completed, all_connected=all_connected)
            ]
            time.sleep(POLL_S)
        self.unreached |= {cell.mark for cell in waiting}

    def _is_at_point(
        self, cell: Cell, held: set[str], completed: set[str], *, all_connected: bool
    ) -> bool:
        asker = self.askers[cell.mark]
        if cell.point == "started":
            return all_connected
        if cell.point == "tool round":
            return not asker.is_alive() and wants_tool(asker.seen.text)
        if cell.mark not in held:
            return False
        if cell.point == "panel":
            return {f"voice1-{cell.mark}", f"voice2-{cell.mark}"} <= completed
        # The client has what the provider has sent: it is on the way for some milliseconds.
        if cell.point in ("mid", "late") and cell.stream:
            token = f"{cell.answering}.{1 if cell.point == 'mid' else 5}"
            return token in asker.seen.text
        return True

    def _completed_models(self) -> set[str]:
        runs = self._ledger().values()
        return {call.model for run in runs for call in run.calls if call.status == "completed"}

    def _ledger(self) -> dict[str, records.Run]:
        return records.ledger(self.deployment.database)

    def _reach_frozen_points(self) -> int | None:
        ending = [cell for cell in self.batch.cells if cell.point == "end"]
        starting = [cell for cell in self.batch.cells if cell.point == "received"]
        if not ending and not starting:
            return None
        pid = self.deployment.freeze_engine()
        if ending:
            models = {cell.answering for cell in ending}
            self.upstream.release(models)
            self._wait(
                lambda: models <= {r.model for r in self.upstream.requests() if r.closed_at},
                REACH_LIMIT_S,
            )
            read = {r.model for r in self.upstream.requests() if r.closed_at}
            self.unreached |= {cell.mark for cell in ending if cell.answering not in read}
            self._wait(lambda: models <= self._completed_models(), RECORD_LIMIT_S)
        if starting:
            for cell in starting:
                self.askers[cell.mark].start()
            models = {cell.model for cell in starting}
            self._wait(lambda: models <= self._started_models(), RECEIVE_LIMIT_S)
            received = self._started_models()
            self.unreached |= {cell.mark for cell in starting if cell.model not in received}
        return pid

    def _started_models(self) -> set[str]:
        return {run.model for run in self._ledger().values()}

    def _raise_storm(self) -> None:
        """Begin and end many runs at once, until the victim is stopped by the provider."""
        if not self.batch.storm:
            return
        ending = [cell.answering for cell in self.batch.cells if cell.point == "ending"]
        pid = self.deployment.main_pid(self.batch.victim)
        asking = [self.askers[c.mark] for c in self.batch.cells if c.point == "asking"]
        self.upstream.storm(ending, pid, self.batch.storm)
        for asker in asking:
            asker.start()
        if not self._wait(self.upstream.has_stopped, REACH_LIMIT_S):
            self.unreached |= {cell.mark for cell in self.batch.cells}

    def _wait(self, condition: Callable[[], bool], limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while not (reached := condition()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return reached

    def _kill(self) -> float:
        if self.batch.victim == "upstream":
            at = time.time()
            self.upstream.kill()
            return at
        return self.deployment.kill(self.batch.victim)

    def _follow_up(self) -> dict[str, Asker]:
        """Send the tools' results of clients that were between two requests."""
        askers: dict[str, Asker] = {}
        for cell in self.batch.cells:
            seen = self.askers[cell.mark].seen
            if cell.point == "tool round" and cell.mark not in self.unreached:
                body = second_body(cell, seen.text)
                askers[cell.mark] = Asker(cell, self.deployment.base_url, KEY, body)
                askers[cell.mark].start()
        return askers

    def _wait_for_ends(self, second: dict[str, Asker]) -> bool:
        """Return whether all clients and runs have ended in time, by ledger and engine."""
        deadline = time.monotonic() + END_LIMIT_S
        for asker in [*self.askers.values(), *second.values()]:
            asker.join(max(0.0, deadline - time.monotonic()))
        address = self.deployment.engine_address()

        def ended() -> bool:
            if any(run.status == "running" for run in self._ledger().values()):
                return False
            return asyncio.run(_running(address)) == 0

        return self._wait(ended, max(1.0, deadline - time.monotonic()))


async def _running(address: str) -> int:
    try:
        client = await Client.connect(address)
        found = await client.count_workflows('ExecutionStatus = "Running"')
    except (RPCError, RuntimeError):
        return -1
    return found.count
