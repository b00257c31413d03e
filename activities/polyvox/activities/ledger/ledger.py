"""The ledger: the runs, their calls and the keys.

It is a projection of the engine's histories, which are authoritative. The ledger can be listed
quickly and outlives the retention of histories. Therefore:

* ``record`` queues a value and returns immediately. One thread writes batches
  (``storage/write_queue.py``).
* ``store`` queues a value that must be durable before the caller goes on: the start of a run before
  the engine gets it, and the start of an attempt before its request is sent. If it cannot be
  written, the request fails before anything is bought: a call that nobody could account for or find
  again is worse than an error that a client may retry.
* An entry may be recorded again after a crash: a known run is not changed, and neither is a run
  that has ended.
* Reads return everything this process recorded before. Other processes, such as the command line,
  open the same database and are at most one batch behind.

Statements are portable SQL, so that the URL may name another database than a SQLite file.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Self, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, and_, col, or_, select, update

from polyvox.activities.ledger.api_keys import KeyCache, digest, new_key_id, new_secret
from polyvox.activities.ledger.entries import Entry, KeyRecord, Role, RunStatus
from polyvox.activities.ledger.entry_writer import EntryWriter
from polyvox.activities.ledger.statements import (
    begins_with,
    costs_of,
    run_by_prefix,
)
from polyvox.activities.ledger.tables import (
    CallRow,
    KeyRow,
    RunFacts,
    RunRecord,
    RunRow,
)
from polyvox.activities.storage.database import open_database, run_query
from polyvox.activities.storage.write_queue import WriteQueue
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Cost

FLUSH_S = 5.0
LIST_LIMIT = 1000
READERS = 16
"""The most requests that read runs, or wait to read them, at the same time."""

T = TypeVar("T")


class Ledger:
    """Runs, calls and keys in one database. Created by ``open``, released by ``close``."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._cache = KeyCache(clock)
        self._names: dict[str, str] = {}
        self._queue: WriteQueue[Entry] = WriteQueue(EntryWriter(engine).write, "ledger")
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="ledger-read")
        # A separate thread, so that lists of runs do not delay the key check of every request.
        self._key_threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-keys")
        self._reading = 0

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], float] = time.monotonic) -> Self:
        """Open the database at a SQLAlchemy URL and create its tables if it is new.

        Blocks for some milliseconds. ``clock`` determines when a cached key is stale. Raises
        DatabaseError, whose message contains the remedy.
        """
        return cls(open_database(url), clock)

    async def close(self) -> None:
        """Write the queue, for at most 5 s, and close the database."""
        await asyncio.to_thread(self._queue.close, FLUSH_S)
        self._threads.shutdown(wait=False)
        self._key_threads.shutdown(wait=False)
        self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def record(self, entry: Entry) -> None:
        """Queue an entry. Does not wait or raise; may be called from any thread."""
        self._queue.put(entry)

    def store(self, entry: Entry) -> "asyncio.Future[None]":
        """Queue an entry; the future is done when it is durable.

        It raises ModelError("overloaded") if the database cannot be written. Call it on an event
        loop; the future need not be awaited.
        """
        return self._queue.store(entry)

    @property
    def lost(self) -> int:
        """The number of entries lost since the ledger was opened."""
        return self._queue.dropped

    async def flush(self) -> None:
        """Wait until all entries recorded so far are written, for at most 5 s."""
        await self._queue.flush(FLUSH_S)

    async def runs(
        self,
        *,
        limit: int = 20,
        before: str | None = None,
        status: RunStatus | None = None,
        model: str | None = None,
        flow: str | None = None,
        key_id: str | None = None,
    ) -> list[RunRecord]:
        """List runs without their calls, newest first, at most 1000.

        With a ``key_id`` only that key's runs are considered. ``flow`` is a flow's name, or one
        version of it (``careful@2``). ``before`` is the id of a run: only older ones are listed.
        Raises ModelError("not_found") if that run does not exist.
        """
        wanted = select(RunRow).order_by(col(RunRow.started_at).desc(), col(RunRow.run_id).desc())
        if key_id is not None:
            wanted = wanted.where(RunRow.key_id == key_id)
        if status is not None:
            wanted = wanted.where(RunRow.status == status)
        if model is not None:
            wanted = wanted.where(RunRow.model == model)
        if flow is not None and "@" in flow:
            wanted = wanted.where(RunRow.flow == flow)
        elif flow is not None:
            wanted = wanted.where(begins_with(self._engine, col(RunRow.flow), f"{flow}@"))

        def read(session: Session) -> list[RunRecord]:
            query = wanted
            if before is not None:
                edge = session.get(RunRow, before)
                if edge is None or key_id not in (None, edge.key_id):
                    raise ModelError(
                        "not_found", f"There is no run {before!r} to list the runs before."
                    )
                query = query.where(
                    or_(
                        col(RunRow.started_at) < edge.started_at,
                        and_(
                            col(RunRow.started_at) == edge.started_at,
                            col(RunRow.run_id) < edge.run_id,
                        ),
                    )
                )
            rows = session.exec(query.limit(max(1, min(limit, LIST_LIMIT)))).all()
            costs = costs_of(session, [row.run_id for row in rows])
            return [_record(row, costs) for row in rows]

        return await self._read(read)

    async def run(self, run_id: str, *, key_id: str | None = None) -> RunRecord | None:
        """Return a run with its calls, or None. ``run_id`` may be an unambiguous prefix.

        With a ``key_id`` only that key's runs are considered. Raises ModelError("invalid_request")
        for a prefix of several runs.
        """

        def read(session: Session) -> RunRecord | None:
            row = session.get(RunRow, run_id)
            if row is not None and key_id not in (None, row.key_id):
                row = None
            row = row or run_by_prefix(session, run_id, key_id)
            if row is None:
                return None
            calls = session.exec(
                select(CallRow)
                .where(CallRow.run_id == row.run_id)
                .order_by(col(CallRow.started_at), col(CallRow.id))
            )
            return _record(row, costs_of(session, [row.run_id]), calls)

        return await self._read(read)

    async def attach(self, run_id: str, process_id: str) -> None:
        """Make ``process_id`` the listener of a run: it holds the client. Durable on return."""

        def write(session: Session) -> None:
            row = update(RunRow).where(col(RunRow.run_id) == run_id)
            session.connection().execute(row.values(listener=process_id))
            session.commit()

        await self._query(write, self._threads)

    async def listener_of(self, run_id: str) -> str | None:
        """Return the process that holds the client of a run, None if nobody does."""

        def read(session: Session) -> str | None:
            return session.exec(select(RunRow.listener).where(RunRow.run_id == run_id)).first()

        return await self._query(read, self._threads)

    async def create_key(self, name: str, role: Role = "user") -> tuple[str, str]:
        """Create a key; return its id and its secret, which is not stored."""
        secret = new_secret()
        return await self.add_key(secret, name, role), secret

    async def add_key(self, secret: str, name: str, role: Role = "user") -> str:
        """Create a key with ``secret`` if there is none; return the key's id.

        A known key keeps its role if it has one. Raises ModelError("conflict") if the key of that
        secret was revoked.
        """
        sha256 = digest(secret)

        def write(session: Session) -> str:
            known = session.exec(select(KeyRow).where(KeyRow.sha256 == sha256)).first()
            if known is None:
                known = KeyRow(
                    key_id=new_key_id(),
                    sha256=sha256,
                    name=name,
                    created_at=datetime.now(UTC),
                    role=role,
                )
                session.add(known)
                try:
                    session.commit()
                except IntegrityError:  # another process has just added it
                    session.rollback()
                    return write(session)
            elif known.role is None and known.revoked_at is None:
                known.role = role
                session.add(known)
                session.commit()
            elif known.revoked_at is not None:
                raise ModelError(
                    "conflict",
                    f"The key {known.key_id!r} was revoked and its secret cannot be used again. "
                    "Choose another secret.",
                )
            return known.key_id

        key_id = await self._query(write)
        self._cache.clear()
        return key_id

    async def find_key(self, secret: str) -> str | None:
        """Return the id of the key with that secret, None if it is unknown or revoked.

        The result may be one second old.
        """
        sha256 = digest(secret)
        known, key_id = self._cache.get(sha256)
        if known:
            return key_id

        def read(session: Session) -> str | None:
            found = select(KeyRow).where(KeyRow.sha256 == sha256, col(KeyRow.revoked_at).is_(None))
            row = session.exec(found).first()
            if row is None:
                return None
            self._names[row.key_id] = row.name
            return row.key_id

        key_id = await self._query(read)
        self._cache.put(sha256, key_id)
        return key_id

    def key_name(self, key_id: str) -> str:
        """Return the name of a key that ``find_key`` has found, "" for another one."""
        return self._names.get(key_id, "")

    async def key_of(self, secret: str) -> KeyRecord | None:
        """Return the key with that secret, also a revoked one; None if it is unknown."""
        sha256 = digest(secret)

        def read(session: Session) -> KeyRecord | None:
            row = session.exec(select(KeyRow).where(KeyRow.sha256 == sha256)).first()
            return _key_record(row) if row is not None else None

        return await self._query(read)

    async def set_role(self, key_id: str, role: Role) -> None:
        """Set the role of a key; do nothing if the key is unknown."""

        def write(session: Session) -> None:
            row = session.get(KeyRow, key_id)
            if row is not None:
                row.role = role
                session.add(row)
                session.commit()

        await self._query(write)

    async def role_of(self, key_id: str) -> Role:
        """Return the role of a key, ``user`` if the key is unknown."""

        def read(session: Session) -> Role:
            row = session.get(KeyRow, key_id)
            return "admin" if row is not None and row.role == "admin" else "user"

        return await self._query(read)

    async def list_keys(self) -> list[KeyRecord]:
        """Return all keys, oldest first, including revoked ones."""

        def read(session: Session) -> list[KeyRecord]:
            rows = session.exec(select(KeyRow).order_by(col(KeyRow.created_at)))
            return [_key_record(row) for row in rows]

        return await self._query(read)

    async def revoke_key(self, key_id: str) -> KeyRecord:
        """Revoke the key; revoking it again changes nothing.

        Raises ModelError("not_found") if the key does not exist.
        """

        def write(session: Session) -> KeyRecord:
            row = session.get(KeyRow, key_id)
            if row is None:
                raise ModelError(
                    "not_found", f"There is no key {key_id!r}. `polyvox keys list` shows them."
                )
            if row.revoked_at is None:
                row.revoked_at = datetime.now(UTC)
                session.add(row)
                session.commit()
            return _key_record(row)

        record = await self._query(write)
        self._cache.clear()
        return record

    async def _read(self, query: Callable[[Session], T]) -> T:
        """Read runs. Raises ModelError("overloaded") if too many requests are reading already."""
        if self._reading >= READERS:
            raise ModelError(
                "overloaded",
                f"{READERS} requests are reading the ledger already. Try again in a moment.",
                retry_after_s=1,
            )
        self._reading += 1
        try:
            await self.flush()
            return await self._query(query, self._threads)
        finally:
            self._reading -= 1

    async def _query(
        self, query: Callable[[Session], T], threads: ThreadPoolExecutor | None = None
    ) -> T:
        """Run ``query`` in a thread, by default the one for keys.

        Raises ModelError("overloaded") if the database fails.
        """

        what = f"The ledger {self._engine.url.render_as_string(hide_password=True)}"
        return await asyncio.get_running_loop().run_in_executor(
            threads or self._key_threads, run_query, self._engine, query, what
        )


def _record(row: RunRow, costs: Mapping[str, Cost], calls: Iterable[CallRow] = ()) -> RunRecord:
    # Without validation, because stored values must stay readable.
    facts = {name: getattr(row, name) for name in RunFacts.model_fields}
    cost = costs.get(row.run_id, Cost())
    return RunRecord.model_construct(None, **facts, calls=list(calls), cost=cost)


def _key_record(row: KeyRow) -> KeyRecord:
    role: Role = "admin" if row.role == "admin" else "user"
    return KeyRecord(row.key_id, row.name, row.created_at, row.revoked_at, role)
