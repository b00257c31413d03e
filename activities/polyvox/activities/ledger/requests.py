"""Finds the run of a request that is sent again.

An idempotency key belongs to one run at a time: the first of several concurrent requests gets it,
in whichever process they are. A run whose client is gone is adopted by one request: its
``listener`` is changed only if it is still the one that was read.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import ColumnElement, Engine, delete, update
from sqlmodel import Field, Session, SQLModel, and_, col, or_, select

from polyvox.activities.ledger.entries import ANSWERED
from polyvox.activities.ledger.statements import insert_new, table_of
from polyvox.activities.ledger.tables import RunRow
from polyvox.activities.storage.database import UtcDateTime, run_query

KEY_LIFE = timedelta(hours=24)
"""How long an idempotency key stands for its run."""

LONGEST_RUN = timedelta(hours=2)
"""The engine ends a run that takes longer."""

_MOST_ALIKE = 64
"""The most runs of one body that are looked at."""

T = TypeVar("T")


class IdempotencyKeyRow(SQLModel, table=True):
    """``key_id`` is the API key, whose clients choose idempotency keys of their own."""

    __tablename__ = "idempotency_keys"

    key_id: str = Field(primary_key=True)
    idempotency_key: str = Field(primary_key=True)
    request_digest: str
    run_id: str
    claimed_at: datetime = Field(sa_type=UtcDateTime)


@dataclass(frozen=True, slots=True)
class Claim:
    """The run that an idempotency key stands for, and the digest of its request."""

    run_id: str
    request_digest: str
    claimed_at: datetime


class Requests:
    """The requests of clients and their runs, in the ledger's database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._insert = insert_new(engine.dialect.name, table_of(IdempotencyKeyRow))

    async def claim(
        self,
        key_id: str,
        idempotency_key: str,
        request_digest: str,
        run_id: str,
        instead_of: str = "",
    ) -> Claim:
        """Make the key stand for ``run_id`` if it is free, and return what it stands for now.

        A key that stands for the run ``instead_of``, or that is older than ``KEY_LIFE``, is free.
        """
        now = datetime.now(UTC)
        keys = table_of(IdempotencyKeyRow)
        mine = and_(keys.c.key_id == key_id, keys.c.idempotency_key == idempotency_key)
        row = {"request_digest": request_digest, "run_id": run_id, "claimed_at": now}

        def write(session: Session) -> Claim:
            connection = session.connection()
            connection.execute(delete(keys).where(keys.c.claimed_at < now - KEY_LIFE))
            if instead_of:
                # Only one of several requests finds the run that it is to replace.
                connection.execute(
                    update(keys).where(mine, keys.c.run_id == instead_of).values(**row)
                )
            connection.execute(
                self._insert, {"key_id": key_id, "idempotency_key": idempotency_key, **row}
            )
            session.commit()
            found = session.get(IdempotencyKeyRow, (key_id, idempotency_key))
            if found is None:  # deleted by a request at the other end of its life
                return Claim(run_id, request_digest, now)
            return Claim(found.run_id, found.request_digest, found.claimed_at)

        return await self._query(write)

    async def run(self, run_id: str) -> RunRow | None:
        """Return the run's row."""
        return await self._query(lambda session: session.get(RunRow, run_id))

    async def alike(self, key_id: str, request_digest: str, since: datetime) -> list[RunRow]:
        """Return the runs of a request that may still answer it, newest first.

        They are running, or have completed after ``since``.
        """

        def read(session: Session) -> list[RunRow]:
            wanted = (
                select(RunRow)
                .where(RunRow.key_id == key_id, RunRow.request_digest == request_digest)
                .where(_may_answer(since))
                .order_by(col(RunRow.started_at).desc())
            )
            return list(session.exec(wanted.limit(_MOST_ALIKE)))

        return await self._query(read)

    async def unanswered(self, since: datetime) -> list[RunRow]:
        """Return the runs whose client has no answer yet and that may give it; see ``alike``."""

        def read(session: Session) -> list[RunRow]:
            wanted = select(RunRow).where(
                col(RunRow.started_at) > since - LONGEST_RUN,
                col(RunRow.listener).is_not(None),
                col(RunRow.listener) != ANSWERED,
                col(RunRow.request_digest).is_not(None),
            )
            return list(session.exec(wanted.where(_may_answer(since))))

        return await self._query(read)

    async def adopt(self, run_id: str, listener: str | None, process_id: str) -> bool:
        """Make ``process_id`` the run's listener if it is still ``listener``."""
        runs = table_of(RunRow).c
        held = runs.listener.is_(None) if listener is None else runs.listener == listener

        def write(session: Session) -> bool:
            written = session.connection().execute(
                update(table_of(RunRow))
                .where(runs.run_id == run_id, held)
                .values(listener=process_id)
            )
            session.commit()
            return written.rowcount == 1

        return await self._query(write)

    async def release(self, run_id: str) -> None:
        """Record that nobody waits for the run's answer."""
        runs = table_of(RunRow).c

        def write(session: Session) -> None:
            row = update(table_of(RunRow)).where(runs.run_id == run_id)
            session.connection().execute(row.values(listener=None))
            session.commit()

        await self._query(write)

    async def _query(self, query: Callable[[Session], T]) -> T:
        return await asyncio.to_thread(run_query, self._engine, query, "The requests sent before")


def _may_answer(since: datetime) -> ColumnElement[bool]:
    runs = table_of(RunRow).c
    return or_(runs.status == "running", and_(runs.status == "completed", runs.ended_at > since))
