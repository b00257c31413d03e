"""The register of the processes that share a database.

Each process writes every ``SEE_S`` that it lives, in a thread of its own, so that a busy event loop
does not look like a death. A process is dead if it has no row or has not written for ``DEAD_S``.

While the database is away nobody can write. The first process that reaches it again must not take
the others for dead, so a process judges others only after it could write for ``JUDGING_S`` itself:
by then every living process has written too. A process that was taken for dead, because it was
stopped or cut off, registers again with its next write. What others ended meanwhile stays ended.

Times are the database's clock on PostgreSQL, which all processes share, and the machine's on
SQLite.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Field, Session, SQLModel, col, delete, func, select, update

from polyvox.activities.storage.database import UtcDateTime, run_query

SEE_S = 2.0
"""The interval in which a process writes that it lives."""

DEAD_S = 8.0
"""A process that has not written for so long is dead."""

JUDGING_S = 5.0
"""How long a process must have been able to write before it takes others for dead."""

_CACHED_S = 1.0

T = TypeVar("T")

ProcessRole = Literal["replica", "gateway", "worker"]

log = logging.getLogger(__name__)


class ProcessRow(SQLModel, table=True):
    """A running process. ``address`` is that of its live lane, null if it has none.

    ``seen_at`` is written every few seconds; a process whose ``seen_at`` is old is dead.
    """

    __tablename__ = "processes"

    process_id: str = Field(primary_key=True)
    role: str
    address: str | None = None
    version: str
    started_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime)


@dataclass(frozen=True, slots=True)
class Process:
    """A registered process; ``silent_s`` is the time since it last wrote that it lives."""

    process_id: str
    role: str
    address: str | None
    version: str
    silent_s: float = 0.0


def new_process_id() -> str:
    """Return the id of a process that starts."""
    return f"p_{secrets.token_hex(8)}"


class Processes:
    """The register, and this process's row in it.

    ``alone`` means that no other process can use the database, so all others in it are dead.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        version: str,
        role: ProcessRole = "replica",
        address: str | None = None,
        alone: bool = False,
        process_id: str | None = None,
        see_s: float = SEE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.process_id = process_id or new_process_id()
        self._engine = engine
        self._version = version
        self._role = role
        self._address = address
        self.alone = alone
        self._see_s = see_s
        self._clock = clock
        self._started_at: datetime | None = None
        self._left = threading.Event()
        self._beating: threading.Thread | None = None
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="processes")
        # The times of the last write and of the first of the unbroken series that it ended.
        self._wrote = self._writing_since = clock()
        self._known: list[Process] = []
        self._known_at: float | None = None

    async def register(self) -> None:
        """Add this process and begin to write that it lives.

        Raises ModelError("overloaded") if the database cannot be written.
        """
        await self._query(self._add)
        self._wrote = self._writing_since = self._clock()
        self._beating = threading.Thread(target=self._beat, name="process register", daemon=True)
        self._beating.start()

    async def see(self) -> None:
        """Write that this process lives; add it again if others removed it.

        Raises ModelError("overloaded") if the database cannot be written.
        """
        await self._query(self._see)

    async def leave(self) -> None:
        """Remove this process. If that fails, others find out by its silence."""
        self._left.set()
        if self._beating is not None:
            await asyncio.to_thread(self._beating.join, self._see_s)
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._remove)
        except SQLAlchemyError as error:
            log.warning("Process %s could not be removed: %s", self.process_id, error)
        self._threads.shutdown(wait=False)

    async def living(self) -> list[Process]:
        """Return the processes that live, oldest first; the result may be one second old.

        Raises ModelError("overloaded") if the database cannot be read.
        """
        return [process for process in await self._registered() if process.silent_s < DEAD_S]

    async def address_of(self, process_id: str) -> str | None:
        """Return the address of a process's live lane, None if it is dead or has no lane."""
        return next(
            (found.address for found in await self.living() if found.process_id == process_id), None
        )

    async def dead(self) -> list[str]:
        """Return the ids of processes that died and whose rows are still there.

        The result is empty while this process cannot judge others.
        """
        found = await self._registered()
        if not self._can_judge():
            return []
        return [each.process_id for each in found if self._is_silent(each)]

    async def gone(self, process_ids: Iterable[str]) -> set[str]:
        """Return those of ``process_ids`` that are certainly dead: unknown, or silent for long."""
        registered = {each.process_id: each for each in await self._registered()}
        judges = self._can_judge()
        return {
            process_id
            for process_id in process_ids
            if process_id != self.process_id
            and (
                process_id not in registered or (judges and self._is_silent(registered[process_id]))
            )
        }

    async def heard(self, process_id: str, within_s: float) -> bool:
        """Return whether a process wrote that it lives ``within_s`` seconds before now."""
        return process_id == self.process_id or any(
            each.process_id == process_id and each.silent_s < within_s
            for each in await self._registered()
        )

    async def forget(self, process_ids: Iterable[str]) -> None:
        """Remove dead processes; one that lives after all adds itself again."""
        dead = [each for each in process_ids if each != self.process_id]

        def remove(session: Session) -> None:
            edge = _now(session) - timedelta(seconds=DEAD_S)
            silent = col(ProcessRow.process_id).in_(dead), col(ProcessRow.seen_at) < edge
            session.connection().execute(delete(ProcessRow).where(*silent))
            session.commit()

        if dead:
            await self._query(remove)
            self._known_at = None

    async def _registered(self) -> list[Process]:
        now = self._clock()
        if self._known_at is None or now - self._known_at > _CACHED_S:
            self._known = await self._query(_read)
            self._known_at = now
        return self._known

    def _can_judge(self) -> bool:
        recent = self._clock() - self._wrote < 2 * self._see_s
        return recent and self._wrote - self._writing_since >= JUDGING_S

    def _is_silent(self, process: Process) -> bool:
        return process.process_id != self.process_id and process.silent_s >= DEAD_S

    def _beat(self) -> None:
        while not self._left.wait(self._see_s):
            try:
                with Session(self._engine) as session:
                    self._see(session)
            except SQLAlchemyError as error:
                log.warning("Process %s cannot write that it lives: %s", self.process_id, error)

    def _see(self, session: Session) -> None:
        row = update(ProcessRow).where(col(ProcessRow.process_id) == self.process_id)
        known = session.connection().execute(row.values(seen_at=_now(session)))
        session.commit()
        if known.rowcount == 0 and not self._left.is_set():
            log.warning("Other processes took %s for dead; it registers again", self.process_id)
            self._add(session)
        now = self._clock()
        if now - self._wrote > 2 * self._see_s:
            self._writing_since = now
        self._wrote = now

    def _add(self, session: Session) -> None:
        now = _now(session)
        self._started_at = self._started_at or now
        if self.alone:
            others = col(ProcessRow.process_id) != self.process_id
            session.connection().execute(delete(ProcessRow).where(others))
        session.merge(
            ProcessRow(
                process_id=self.process_id,
                role=self._role,
                address=self._address,
                version=self._version,
                started_at=self._started_at,
                seen_at=now,
            )
        )
        session.commit()

    def _remove(self) -> None:
        with Session(self._engine) as session:
            own = col(ProcessRow.process_id) == self.process_id
            session.connection().execute(delete(ProcessRow).where(own))
            session.commit()

    async def _query(self, query: Callable[[Session], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, run_query, self._engine, query, "The register of processes"
        )


def _read(session: Session) -> list[Process]:
    now = _now(session)
    rows = session.exec(select(ProcessRow).order_by(col(ProcessRow.started_at)))
    return [
        Process(
            row.process_id,
            row.role,
            row.address,
            row.version,
            silent_s=(now - row.seen_at).total_seconds(),
        )
        for row in rows
    ]


def _now(session: Session) -> datetime:
    if session.get_bind().dialect.name != "postgresql":
        return datetime.now(UTC)
    found: datetime = session.connection().scalar(
        select(func.timezone("utc", func.clock_timestamp()))
    )
    return found.replace(tzinfo=UTC)
