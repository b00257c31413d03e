"""The ledger: which runs and calls there were, and which keys are good.

It is a projection. The history in the engine is the audit truth; the ledger makes it quick to
list and survives its retention. Therefore:

* ``record`` takes a value and returns at once. One thread writes batches
  (``storage/write_queue.py``), so a request costs no database round trip and no database error ever
  reaches it.
* An entry may be recorded again after a crash: a run that is known stays as it is, and a run that
  has ended never changes.
* Reads see everything this process recorded before. Other processes, such as the command line,
  open the same database and are at most one batch behind.

Statements are portable SQL, so that the URL may name another database than a SQLite file.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Self, TypeVar

from sqlalchemy import Engine
from sqlmodel import Session, and_, col, or_, select

from polyvox.activities.ledger.api_keys import KeyCache, digest, new_key_id, new_secret
from polyvox.activities.ledger.entries import (
    CallEnded,
    Entry,
    KeyRecord,
    Role,
    RunEnded,
    RunStarted,
    RunStatus,
)
from polyvox.activities.ledger.statements import (
    Row,
    begins_with,
    call_row,
    costs_of,
    end_runs,
    ended_row,
    insert_new,
    run_by_prefix,
    started_row,
    table_of,
)
from polyvox.activities.ledger.tables import CallRow, KeyRow, RunFacts, RunRecord, RunRow
from polyvox.activities.storage.database import open_database, run_query
from polyvox.activities.storage.write_queue import WriteQueue
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Cost

FLUSH_S = 5.0
LIST_LIMIT = 1000
READERS = 16
"""Requests that may read runs, or wait for it, at the same time."""

T = TypeVar("T")


class Ledger:
    """Runs, calls and keys in one database. Built by ``open``, ended by ``close``."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._cache = KeyCache(clock)
        self._queue: WriteQueue[Entry] = WriteQueue(self._write, "ledger")
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="ledger-read")
        # A thread of its own: every request asks for its key, and no listing may hold it up.
        self._key_threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-keys")
        self._reading = 0
        self._insert_runs = insert_new(engine.dialect.name, table_of(RunRow))
        self._end_runs = end_runs()

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], float] = time.monotonic) -> Self:
        """Open the database at a SQLAlchemy URL and make its tables if it is new.

        Blocks for some milliseconds. ``clock`` decides when a remembered key look-up is stale.
        Raises DatabaseError, whose message says what to do.
        """
        return cls(open_database(url), clock)

    async def close(self) -> None:
        """Write what is queued, for at most 5 s, and let go of the database."""
        await asyncio.to_thread(self._queue.close, FLUSH_S)
        self._threads.shutdown(wait=False)
        self._key_threads.shutdown(wait=False)
        self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def record(self, entry: Entry) -> None:
        """Queue an entry. Never waits, never fails, may be called from any thread."""
        self._queue.put(entry)

    @property
    def lost(self) -> int:
        """How many entries could not be kept since the ledger was opened."""
        return self._queue.dropped

    async def flush(self) -> None:
        """Wait until all recorded so far is written, for at most 5 s."""
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

        With a ``key_id`` only that key's runs exist. ``flow`` is a flow's name, or one version of
        it (``careful@2``). ``before`` is the id of a run: only older ones are listed. Raises
        ModelError("not_found") if there is no such run.
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
        """Return a run with its calls, or None. ``run_id`` may be a prefix only one run has.

        With a ``key_id`` only that key's runs exist. Raises ModelError("invalid_request") for a
        prefix of several runs.
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

    async def running(self) -> list[str]:
        """Ids of all runs without an end, oldest first: after a crash, those to look into."""

        def read(session: Session) -> list[str]:
            running = select(RunRow.run_id).where(RunRow.status == "running")
            return list(session.exec(running.order_by(col(RunRow.started_at))))

        return await self._read(read)

    async def create_key(self, name: str, role: Role = "user") -> tuple[str, str]:
        """Make a key; return its id and its secret, which is shown this once and not stored."""
        secret = new_secret()
        return await self.add_key(secret, name, role), secret

    async def add_key(self, secret: str, name: str, role: Role = "user") -> str:
        """Accept ``secret`` from now on; return its key id, the same one if it is known.

        A key that has a role keeps it. Raises ModelError("conflict") if the key of that secret was
        revoked.
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
                session.commit()
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
        """Return the id of the key with that secret, or None if there is none or it is revoked.

        An answer may be one second old.
        """
        sha256 = digest(secret)
        known, key_id = self._cache.get(sha256)
        if known:
            return key_id

        def read(session: Session) -> str | None:
            found = select(KeyRow.key_id).where(
                KeyRow.sha256 == sha256, col(KeyRow.revoked_at).is_(None)
            )
            return session.exec(found).first()

        key_id = await self._query(read)
        self._cache.put(sha256, key_id)
        return key_id

    async def key_of(self, secret: str) -> KeyRecord | None:
        """Return the key with that secret, also one that was revoked; None if there is none."""
        sha256 = digest(secret)

        def read(session: Session) -> KeyRecord | None:
            row = session.exec(select(KeyRow).where(KeyRow.sha256 == sha256)).first()
            return _key_record(row) if row is not None else None

        return await self._query(read)

    async def set_role(self, key_id: str, role: Role) -> None:
        """Give a key another role; an unknown one is left unknown."""

        def write(session: Session) -> None:
            row = session.get(KeyRow, key_id)
            if row is not None:
                row.role = role
                session.add(row)
                session.commit()

        await self._query(write)

    async def role_of(self, key_id: str) -> Role:
        """Return the role of a key; an unknown one is a user's."""

        def read(session: Session) -> Role:
            row = session.get(KeyRow, key_id)
            return "admin" if row is not None and row.role == "admin" else "user"

        return await self._query(read)

    async def list_keys(self) -> list[KeyRecord]:
        """All keys, revoked ones too, oldest first."""

        def read(session: Session) -> list[KeyRecord]:
            rows = session.exec(select(KeyRow).order_by(col(KeyRow.created_at)))
            return [_key_record(row) for row in rows]

        return await self._query(read)

    async def revoke_key(self, key_id: str) -> KeyRecord:
        """Refuse the key from now on; revoking again changes nothing.

        Raises ModelError("not_found") if there is no such key.
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
        """Read runs. Raises ModelError("overloaded") where too many wait to read already."""
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

    def _write(self, entries: Sequence[Entry]) -> None:
        started: list[Row] = []
        calls: list[Row] = []
        ended: list[Row] = []
        for entry in entries:
            match entry:
                case RunStarted():
                    started.append(started_row(entry))
                case CallEnded():
                    calls.append(call_row(entry))
                case RunEnded():
                    ended.append(ended_row(entry))
        with self._engine.begin() as connection:
            # Starts come first: a run may start and end within one batch.
            if started:
                connection.execute(self._insert_runs, started)
            if calls:
                connection.execute(table_of(CallRow).insert(), calls)
            if ended:
                connection.execute(self._end_runs, ended)


def _record(row: RunRow, costs: Mapping[str, Cost], calls: Iterable[CallRow] = ()) -> RunRecord:
    # Not validated: what was stored once must stay readable.
    facts = {name: getattr(row, name) for name in RunFacts.model_fields}
    cost = costs.get(row.run_id, Cost())
    return RunRecord.model_construct(None, **facts, calls=list(calls), cost=cost)


def _key_record(row: KeyRow) -> KeyRecord:
    role: Role = "admin" if row.role == "admin" else "user"
    return KeyRecord(row.key_id, row.name, row.created_at, row.revoked_at, role)
