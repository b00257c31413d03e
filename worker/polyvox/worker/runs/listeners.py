"""Finds out whether the process that held a run's client has ended."""

import asyncio

from polyvox.activities.ledger.entries import ANSWERED
from polyvox.activities.ledger.processes import Processes

_ANSWER_S = 1.0


class Listeners:
    """The processes that hold clients. ``process_id`` is this one's."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.process_id = processes.process_id
        self.alone = processes.alone

    async def is_gone(self, process_id: str | None) -> bool:
        """Return whether the process has ended; None stands for a client that disconnected.

        Nobody waits for an answer that has arrived (``ANSWERED``), and nobody is gone.

        The register notices an end only after some seconds, in which clients send their requests
        again. So a process that is registered is also asked for a connection. Raises
        ModelError("overloaded") if the database cannot be read.
        """
        if process_id in (self.process_id, ANSWERED):
            return False
        if process_id is None or await self._processes.gone([process_id]):
            return True
        address = await self._processes.address_of(process_id)
        return address is not None and not await _listens(address)


async def _listens(address: str) -> bool:
    """Return whether something accepts connections at ``address``, a URL or a host and port."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        async with asyncio.timeout(_ANSWER_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port.rstrip("/")))
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    return True
