"""Stored responses, which clients can refer to by their id or by the id of an item.

A row contains a response's key and the digests of its bodies: its conversation is the one its run
was started with, so storing a response adds only its document. Rows are written through a queue and
can be found while they are queued, so that a following request does not wait for the database.

Rows expire: expired ones are not found, and are deleted once an hour. Their blobs, which other
conversations may share, are deleted by a collection of garbage.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, TypeVar

import orjson
import zstandard
from sqlalchemy import Engine, Index, delete, insert
from sqlmodel import Field, Session, SQLModel, col, select

from polyvox.activities.storage.blobs import BlobStore, digest_of
from polyvox.activities.storage.database import UtcDateTime, run_query
from polyvox.activities.storage.write_queue import WriteQueue
from polyvox.workflows.conversation import Json

PREFIX = "resp_"
"""A response's id is this prefix and the id of its run."""

_FLUSH_S = 5.0
_PURGE_S = 3600.0

_LARGE = 1024
"""The least bytes of a document's member stored as a separate blob: tools repeat in each turn."""

T = TypeVar("T")


class ResponseRow(SQLModel, table=True):
    __tablename__ = "responses"
    __table_args__ = (Index("responses_by_age", "created_at"),)

    response_id: str = Field(primary_key=True)
    key_id: str
    model: str
    status: str
    stream: bool
    background: bool
    created_at: datetime = Field(sa_type=UtcDateTime)
    previous_id: str | None = None
    conversation: str
    document: str | None = None


class ResponseItemRow(SQLModel, table=True):
    """An output item with a provider's id; ids made by Polyvox contain their response's."""

    __tablename__ = "response_items"

    item_id: str = Field(primary_key=True)
    response_id: str = Field(primary_key=True, index=True)


class ResponseFramesRow(SQLModel, table=True):
    """Frames of a background response's stream from sequence number ``first`` on, compressed.

    They are here and not in the blob store, because they are not shared and expire with the row.
    """

    __tablename__ = "response_frames"

    response_id: str = Field(primary_key=True)
    first: int = Field(primary_key=True)
    frames: bytes


_RESPONSES, _ITEMS, _FRAMES = [
    SQLModel.metadata.tables[str(row.__tablename__)]
    for row in (ResponseRow, ResponseItemRow, ResponseFramesRow)
]


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored response.

    ``conversation`` is the digest of its conversation, ``created`` in seconds since the epoch.
    ``document`` is the response object, None until the response has ended.
    """

    response_id: str
    key_id: str
    model: str
    created: int
    conversation: str
    stream: bool
    background: bool = False
    previous_id: str | None = None
    document: dict[str, Json] | None = None

    @property
    def run_id(self) -> str:
        return self.response_id.removeprefix(PREFIX)

    def ended(self, document: dict[str, Json]) -> "StoredResponse":
        """Return this response with its end."""
        return replace(self, document=document)

    @property
    def status(self) -> str:
        return str(self.document["status"]) if self.document else "in_progress"

    @property
    def output(self) -> list[Json]:
        """The output items; none until the response has ended."""
        return list(self.document["output"]) if self.document else []


_UNCHANGED = {field.name for field in fields(StoredResponse)} - {"created", "document"}
"""The fields that are columns of a ResponseRow."""


@dataclass(frozen=True, slots=True)
class _Forgotten:
    response_id: str


@dataclass(frozen=True, slots=True)
class _Frames:
    """Frames of a stream; ``first`` is the sequence number of the first."""

    response_id: str
    first: int
    frames: bytes


_Entry = StoredResponse | _Forgotten | _Frames


class ResponsesStore:
    """Stored responses in the ledger's database, their bodies in the blob store."""

    def __init__(self, engine: Engine, blobs: BlobStore, *, days: float) -> None:
        self._engine = engine
        self._blobs = blobs
        self._age = timedelta(days=days)
        self._queue: WriteQueue[_Entry] = WriteQueue(self._write, "response store")
        # The queued responses, None for those to be deleted; also used in the queue's thread.
        self._pending: dict[str, StoredResponse | None] = {}
        self._lock = Lock()
        self._purged: float | None = None

    def keep(self, stored: StoredResponse) -> None:
        """Store a response or its new state; it can be found from now on."""
        with self._lock:
            self._pending[stored.response_id] = stored
        self._queue.put(stored)

    def keep_frames(self, response_id: str, first: int, frames: bytes) -> None:
        """Store frames of a stream; they replace all stored frames from ``first`` on."""
        self._queue.put(_Frames(response_id, first, frames))

    def forget(self, response_id: str) -> None:
        with self._lock:
            self._pending[response_id] = None
        self._queue.put(_Forgotten(response_id))

    async def find(self, response_id: str, key_id: str) -> StoredResponse | None:
        """Return a response of that key, or None."""
        with self._lock:
            queued = response_id in self._pending
            stored = self._pending.get(response_id)
        if not queued:
            stored = await self._query(lambda session: self._read(session, response_id))
        return stored if stored is not None and stored.key_id == key_id else None

    async def owners_of(self, item_id: str) -> list[str]:
        """Return the ids of the responses that have an output item of that id, newest first."""
        with self._lock:
            queued = [stored for stored in self._pending.values() if stored is not None]
        found = [k.response_id for k in queued if any(i.get("id") == item_id for i in k.output)]

        def read(session: Session) -> list[str]:
            holding = select(ResponseItemRow.response_id).where(ResponseItemRow.item_id == item_id)
            return list(session.exec(holding.order_by(col(ResponseItemRow.response_id).desc())))

        return found or await self._query(read)

    async def unfinished(self, limit: int) -> list[StoredResponse]:
        """Return responses that have not ended, oldest first."""

        def read(session: Session) -> list[StoredResponse]:
            open_rows = select(ResponseRow.response_id).where(
                col(ResponseRow.document).is_(None),
                col(ResponseRow.created_at) > datetime.now(UTC) - self._age,
            )
            ids = session.exec(open_rows.order_by(col(ResponseRow.created_at)).limit(limit))
            return [row for row in [self._read(session, one) for one in ids] if row is not None]

        return await self._query(read)

    async def frames(self, response_id: str, first: int = 0) -> bytes:
        """Return the stored frames of a stream that were stored from number ``first`` on."""
        await self.flush()

        def read(session: Session) -> bytes:
            packed = session.exec(
                select(ResponseFramesRow.frames)
                .where(ResponseFramesRow.response_id == response_id)
                .where(col(ResponseFramesRow.first) >= first)
                .order_by(col(ResponseFramesRow.first))
            )
            return b"".join([zstandard.ZstdDecompressor().decompress(rows) for rows in packed])

        return await self._query(read)

    async def flush(self) -> None:
        """Wait until everything stored so far is written, for at most 5 s."""
        await self._queue.flush(_FLUSH_S)

    async def close(self) -> None:
        """Write the queue, for at most 5 s."""
        await asyncio.to_thread(self._queue.close, _FLUSH_S)

    async def _query(self, query: Callable[[Session], T]) -> T:
        return await asyncio.to_thread(run_query, self._engine, query, "The stored responses")

    def _read(self, session: Session, response_id: str) -> StoredResponse | None:
        row = session.get(ResponseRow, response_id)
        if row is None or row.created_at < datetime.now(UTC) - self._age:
            return None
        return StoredResponse(
            **{name: getattr(row, name) for name in _UNCHANGED},
            created=int(row.created_at.timestamp()),
            document=self._document(row.document) if row.document else None,
        )

    def _document(self, digest: str) -> dict[str, Json]:
        manifest = orjson.loads(self._blobs.get(digest))
        document: dict[str, Json] = manifest["members"]
        bodies = self._blobs.get_all(manifest["apart"].values())
        for name, apart in manifest["apart"].items():
            document[name] = orjson.loads(bodies[apart])
        return document

    def _write(self, entries: Sequence[_Entry]) -> None:
        blobs: dict[str, bytes] = {}
        newest = {e.response_id: e for e in entries if not isinstance(e, _Frames)}
        stored = [entry for entry in newest.values() if isinstance(entry, StoredResponse)]
        rows = [_row(entry, blobs) for entry in stored]
        items = [row for entry in stored for row in _item_rows(entry)]
        frames = [_frames_row(entry) for entry in entries if isinstance(entry, _Frames)]
        if blobs:
            self._blobs.put(blobs)
        with self._engine.begin() as connection:
            for row in frames:
                stream = _FRAMES.c.response_id == row["response_id"]
                connection.execute(delete(_FRAMES).where(stream, _FRAMES.c.first >= row["first"]))
                connection.execute(insert(_FRAMES), row)
            gone = [e.response_id for e in newest.values() if isinstance(e, _Forgotten)]
            # A response is stored when it begins and again when it has ended.
            known = [*gone, *(e.response_id for e in stored if e.background or e.document)]
            if known:
                connection.execute(delete(_RESPONSES).where(_RESPONSES.c.response_id.in_(known)))
                connection.execute(delete(_ITEMS).where(_ITEMS.c.response_id.in_(known)))
            if gone:
                connection.execute(delete(_FRAMES).where(_FRAMES.c.response_id.in_(gone)))
            if rows:
                connection.execute(insert(_RESPONSES), rows)
            if items:
                connection.execute(insert(_ITEMS), items)
        self._settle(newest)
        self._purge()

    def _settle(self, written: dict[str, StoredResponse | _Forgotten]) -> None:
        with self._lock:
            for response_id, entry in written.items():
                expected = entry if isinstance(entry, StoredResponse) else None
                if self._pending.get(response_id) is expected:
                    self._pending.pop(response_id, None)

    def _purge(self) -> None:
        """Delete expired rows, once an hour."""
        now = time.monotonic()
        if self._purged is not None and now - self._purged < _PURGE_S:
            return
        self._purged = now
        expired = _RESPONSES.c.created_at < datetime.now(UTC) - self._age
        theirs = select(_RESPONSES.c.response_id).where(expired)
        with self._engine.begin() as connection:
            for table in (_ITEMS, _FRAMES):
                connection.execute(delete(table).where(table.c.response_id.in_(theirs)))
            connection.execute(delete(_RESPONSES).where(expired))


def document_parts(digest: str, get_all: Callable[[Iterable[str]], dict[str, bytes]]) -> set[str]:
    """Return the digests of all blobs of a response's document. Raises what ``get_all`` raises."""
    manifest = orjson.loads(get_all([digest])[digest])
    return {digest, *manifest["apart"].values()}


def _row(stored: StoredResponse, blobs: dict[str, bytes]) -> dict[str, Any]:
    return {
        **{name: getattr(stored, name) for name in _UNCHANGED},
        "status": stored.status,
        "created_at": datetime.fromtimestamp(stored.created, UTC),
        "document": None if stored.document is None else _pack(stored.document, blobs),
    }


def _pack(document: dict[str, Json], blobs: dict[str, bytes]) -> str:
    """Add the blobs of ``document`` to ``blobs`` and return the digest of its manifest."""

    def put(body: bytes) -> str:
        digest = digest_of(body)
        blobs[digest] = body
        return digest

    bodies = {name: orjson.dumps(value) for name, value in document.items()}
    apart = {name: put(body) for name, body in bodies.items() if len(body) >= _LARGE}
    members = {name: value for name, value in document.items() if name not in apart}
    return put(orjson.dumps({"members": members, "apart": apart}))


def _item_rows(stored: StoredResponse) -> list[dict[str, str]]:
    ids = dict.fromkeys(str(item["id"]) for item in stored.output if item.get("id"))
    return [
        {"item_id": item_id, "response_id": stored.response_id}
        for item_id in ids
        if stored.run_id not in item_id
    ]


def _frames_row(frames: _Frames) -> dict[str, Any]:
    packed = zstandard.ZstdCompressor(level=1).compress(frames.frames)
    return {"response_id": frames.response_id, "first": frames.first, "frames": packed}
