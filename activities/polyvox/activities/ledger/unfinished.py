"""What a crash leaves in the ledger: runs and calls without an end, and finished Replies.

The queries of recovery; ``Ledger`` has those of requests.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Engine
from sqlmodel import Session, col, delete, or_, select, update

from polyvox.activities.ledger.processes import ProcessRow
from polyvox.activities.ledger.tables import CallRow, FinishedCallRow, RunRow
from polyvox.activities.storage.database import run_query

T = TypeVar("T")

_INTERRUPTED = "The server stopped during this call; its tokens and cost are not known."


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A run without an end. Its ``listener`` holds its client; anyone can get the answer later if
    it is ``fetchable``."""

    run_id: str
    listener: str | None
    fetchable: bool
    started_at: datetime


class Unfinished:
    """The unfinished runs and calls of a database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def runs(self) -> list[UnfinishedRun]:
        """Return all runs without an end, oldest first."""

        def read(session: Session) -> list[UnfinishedRun]:
            running = select(RunRow.run_id, RunRow.listener, RunRow.fetchable, RunRow.started_at)
            running = running.where(RunRow.status == "running").order_by(col(RunRow.started_at))
            return [
                UnfinishedRun(run_id, listener, bool(fetchable), started_at)
                for run_id, listener, fetchable, started_at in session.exec(running)
            ]

        return await self._query(read)

    async def run(self, run_id: str) -> UnfinishedRun | None:
        """Return a run without an end; None if it has ended or is unknown."""

        def read(session: Session) -> UnfinishedRun | None:
            row = session.get(RunRow, run_id)
            if row is None or row.status != "running":
                return None
            return UnfinishedRun(run_id, row.listener, bool(row.fetchable), row.started_at)

        return await self._query(read)

    async def finished_reply(self, run_id: str, call_id: str) -> bytes | None:
        """Return the stored Reply of a call whose run has not ended, None if there is none."""

        def read(session: Session) -> bytes | None:
            found = session.get(FinishedCallRow, (run_id, call_id))
            return None if found is None else found.reply

        return await self._query(read)

    async def interrupt(self, dead: Iterable[str]) -> None:
        """Mark the running calls of ``dead`` processes as interrupted, at an unknown cost."""
        theirs = col(CallRow.process).in_(list(dead))
        await self._query(lambda session: _interrupt(session, theirs))

    async def interrupt_unregistered(self) -> None:
        """Mark the running calls of processes that are not registered as interrupted."""
        process = col(CallRow.process)
        theirs = or_(process.is_(None), process.not_in(select(ProcessRow.process_id)))
        await self._query(lambda session: _interrupt(session, theirs))

    async def forget_replies(self) -> None:
        """Delete the finished Replies of runs that have ended."""

        def write(session: Session) -> None:
            running = select(RunRow.run_id).where(RunRow.status == "running")
            ended = col(FinishedCallRow.run_id).not_in(running)
            if session.exec(select(FinishedCallRow.run_id).where(ended).limit(1)).first():
                session.connection().execute(delete(FinishedCallRow).where(ended))
                session.commit()

        await self._query(write)

    async def _query(self, query: Callable[[Session], T]) -> T:
        """Raises ModelError("overloaded") if the database fails."""
        return await asyncio.to_thread(run_query, self._engine, query, "The ledger")


def _interrupt(session: Session, whose: object) -> None:
    running = update(CallRow).where(col(CallRow.status) == "running", whose)  # type: ignore[arg-type]
    ended = {"status": "interrupted", "ended_at": datetime.now(UTC), "error_message": _INTERRUPTED}
    session.connection().execute(running.values(**ended))
    session.commit()
