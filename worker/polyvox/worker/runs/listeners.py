"""Finds out whether the process that held a run's client has ended."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session

from polyvox.activities.ledger.processes import ProcessRow
from polyvox.activities.storage.database import run_query

_SILENT = timedelta(seconds=8)
"""A process that was not seen for this long has ended."""

_ANSWER_S = 1.0


def new_process_id() -> str:
    """Return a new id of a process."""
    return f"p_{secrets.token_hex(8)}"


class Listeners:
    """The processes that hold clients. Only one process at a time uses a SQLite database."""

    def __init__(self, engine: Engine, process_id: str) -> None:
        self._engine = engine
        self.process_id = process_id
        self.alone = engine.dialect.name == "sqlite"

    async def is_gone(self, process_id: str | None) -> bool:
        """Return whether the process has ended; None stands for a client that disconnected.

        The register notices an end only after some seconds, in which clients send their requests
        again. So a process that is registered is also asked for a connection.
        """
        if process_id is None:
            return True
        if process_id == self.process_id:
            return False
        if self.alone:
            return True
        row = await asyncio.to_thread(self._row, process_id)
        if row is None or row.seen_at < datetime.now(UTC) - _SILENT:
            return True
        return row.address is not None and not await _listens(row.address)

    def _row(self, process_id: str) -> ProcessRow | None:
        def read(session: Session) -> ProcessRow | None:
            return session.get(ProcessRow, process_id)

        return run_query(self._engine, read, "The register of processes")


async def _listens(address: str) -> bool:
    """Return whether something accepts connections at ``address``, a host and port."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        async with asyncio.timeout(_ANSWER_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port.rstrip("/")))
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    return True
