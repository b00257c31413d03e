"""Calls of runs whose answer nobody can get.

The client of a run is gone if its listener, the process that held it, is dead. If the answer cannot
be fetched later either, a call would be bought for nobody. It waits, until the client's retry
attaches to the run (the listener changes) or the run is cancelled.
"""

import asyncio
from dataclasses import dataclass

from polyvox.activities.ledger.processes import SEE_S, Processes
from polyvox.activities.ledger.unfinished import Unfinished
from polyvox.workflows.errors import ModelError

POLL_S = 1.0

HEARD_S = 2 * SEE_S + 0.5
"""A listener that was heard so recently lives. One that was not may be dead, so calls wait."""


@dataclass(frozen=True, slots=True)
class Orphans:
    """Delays calls of runs without a client; not at all if ``orphans_s`` is negative."""

    unfinished: Unfinished
    processes: Processes
    orphans_s: float

    async def wait(self, run_id: str, listener: str) -> None:
        """Return when somebody can get the answer of ``run_id``.

        ``listener`` is the process that held its client when the run started, empty if none did.
        Raises ModelError("cancelled") if the run ends, ModelError("overloaded") if the database
        cannot be read.
        """
        if not listener or self.orphans_s < 0 or await self._lives(listener):
            return
        while True:
            run = await self.unfinished.run(run_id)
            if run is None:
                # The engine says so too, but only in response to the next heartbeat.
                raise ModelError("cancelled", "The run has ended.")
            if run.fetchable or run.listener is None:
                return
            if await self._lives(run.listener):
                return
            await asyncio.sleep(POLL_S)

    async def _lives(self, process_id: str) -> bool:
        return await self.processes.heard(process_id, HEARD_S)
