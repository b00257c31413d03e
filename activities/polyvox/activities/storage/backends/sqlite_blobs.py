"""Blobs in a SQLite file of their own, in which small blobs are faster than as files.

One put is one transaction on one writer thread. With ``synchronous=NORMAL`` it survives if the
process is killed; a power cut may lose the newest puts.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import zstandard

from polyvox.activities.storage.blobs import (
    RENEWED_S,
    BlobFacts,
    BlobStore,
    compressed,
    decompressed,
    missing_blob,
    unusable_blobs,
)
from polyvox.activities.storage.database import BLOBS, file_url, open_database, write_mistake

log = logging.getLogger(__name__)

_PUT = (
    "INSERT INTO blobs (digest, size, body, stored_at) VALUES (?, ?, ?, ?) ON CONFLICT (digest) "
    f"DO UPDATE SET stored_at = excluded.stored_at "
    f"WHERE stored_at < excluded.stored_at - {RENEWED_S}"
)


class SqliteBlobs(BlobStore):
    """Blobs in one SQLite file. Raises DatabaseError if the file cannot be used."""

    def __init__(self, path: Path) -> None:
        open_database(file_url(path), BLOBS).dispose()
        super().__init__()
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._opening = threading.Lock()

    @property
    def name(self) -> str:
        return self._path.name

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            # close() closes it in another thread.
            connection = sqlite3.connect(self._path, timeout=10, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
            with self._opening:
                self._connections.append(connection)
        return connection

    def put(self, blobs: Mapping[str, bytes]) -> None:
        now = self.now()
        with self._usable("written"), self._connection() as connection:
            connection.executemany(
                _PUT,
                [
                    (bytes.fromhex(digest), len(body), compressed(body), now)
                    for digest, body in blobs.items()
                ],
            )

    def get(self, digest: str) -> bytes:
        with self._usable("read"):
            row = self._row("body", digest)
            if row is not None:
                return decompressed(row[0])
        log.error("Blob %s is missing in %s. Was the file replaced?", digest, self._path)
        raise missing_blob(digest)

    def find(self, digests: Iterable[str]) -> dict[str, bytes]:
        with self._usable("read"):
            rows = {digest: self._row("body", digest) for digest in digests}
            return {digest: decompressed(row[0]) for digest, row in rows.items() if row}

    def get_all(self, digests: Iterable[str]) -> dict[str, bytes]:
        return {digest: self.get(digest) for digest in digests}

    def missing(self, digests: Iterable[str]) -> set[str]:
        return {digest for digest in digests if self._row("1", digest) is None}

    def stored_bytes(self) -> int:
        row = self._connection().execute("SELECT COALESCE(SUM(LENGTH(body)), 0) FROM blobs")
        return int(row.fetchone()[0])

    def now(self) -> int:
        return int(time.time())

    def listed(self, after: str = "", limit: int = 1000) -> list[BlobFacts]:
        with self._usable("read"):
            rows = self._connection().execute(
                "SELECT digest, size, LENGTH(body), stored_at FROM blobs WHERE digest > ? "
                "ORDER BY digest LIMIT ?",
                (bytes.fromhex(after), limit),
            )
            return [BlobFacts(digest.hex(), *facts) for digest, *facts in rows]

    def remove(self, digests: Iterable[str], before: int) -> int:
        with self._usable("written"), self._connection() as connection:
            return connection.executemany(
                "DELETE FROM blobs WHERE digest = ? AND stored_at < ?",
                [(bytes.fromhex(digest), before) for digest in digests],
            ).rowcount

    def mistake(self) -> str | None:
        return write_mistake(self._path)

    def close(self) -> None:
        super().close()
        for connection in self._connections:
            connection.close()

    def _row(self, columns: str, digest: str) -> tuple[bytes] | None:
        query = f"SELECT {columns} FROM blobs WHERE digest = ?"
        row: tuple[bytes] | None = (
            self._connection().execute(query, (bytes.fromhex(digest),)).fetchone()
        )
        return row

    @contextmanager
    def _usable(self, done: str) -> Iterator[None]:
        """Turn the errors of a damaged file or a full disk into ModelErrors."""
        try:
            yield
        except (sqlite3.Error, zstandard.ZstdError) as error:
            log.error("The blob store %s cannot be %s: %s", self._path, done, error)
            raise unusable_blobs(done, error, "the data folder's disk and blobs.db") from error
