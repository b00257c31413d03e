"""The content-addressed store: compressed blobs by their SHA-256, each written once.

It is a separate SQLite file, in which small blobs are faster than as files. One put is one
transaction on one writer thread, so all its blobs are durable when it returns. With
``synchronous=NORMAL`` that holds if the process is killed; a power cut may lose the newest puts.

Errors of the file are ModelErrors, so that clients get them in their protocol.
"""

import asyncio
import hashlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import zstandard

from polyvox.activities.storage.database import BLOBS, file_url, open_database
from polyvox.workflows.errors import ModelError

R = TypeVar("R")

log = logging.getLogger(__name__)

_LEVEL = 1
"""Level 1 compresses 800 KB of text in about 2 ms; higher levels would delay the first token."""


def digest_of(body: bytes) -> str:
    """Return the address of ``body``: its SHA-256 in hex."""
    return hashlib.sha256(body).hexdigest()


class BlobStore:
    """Blobs in one SQLite file. They can be read in any thread, also in a workflow's.

    Raises DatabaseError if the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        open_database(file_url(path), BLOBS).dispose()
        self._path = path
        self._writer = ThreadPoolExecutor(1, "blobs")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._opening = threading.Lock()

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

    async def on_writer(self, work: Callable[[], R]) -> R:
        """Run ``work`` (hashing, compressing, ``put``) on the writer thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def put(self, blobs: Mapping[str, bytes]) -> None:
        """Store bodies by digest, durable on return; known ones are not written again.

        Raises ModelError("overloaded") if the file cannot be written.
        """
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
        with self._usable("written"), self._connection() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO blobs (digest, size, body) VALUES (?, ?, ?)",
                [
                    (bytes.fromhex(digest), len(body), compressor.compress(body))
                    for digest, body in blobs.items()
                ],
            )

    def get(self, digest: str) -> bytes:
        """Return a body.

        Raises ModelError("not_found") if it is not stored, ModelError("overloaded") if the file
        cannot be read.
        """
        with self._usable("read"):
            row = (
                self._connection()
                .execute("SELECT body FROM blobs WHERE digest = ?", (bytes.fromhex(digest),))
                .fetchone()
            )
            if row is not None:
                return zstandard.ZstdDecompressor().decompress(row[0])
        log.error("Blob %s is missing in %s. Was the file replaced?", digest, self._path)
        raise ModelError(
            "not_found",
            f"Stored content that this refers to is missing on the server (blob {digest[:12]}). "
            "Send the whole conversation instead of referring to an earlier one.",
        )

    @contextmanager
    def _usable(self, done: str) -> Iterator[None]:
        """Turn the errors of a damaged file or a full disk into ModelErrors."""
        try:
            yield
        except (sqlite3.Error, zstandard.ZstdError) as error:
            log.error("The blob store %s cannot be %s: %s", self._path, done, error)
            raise ModelError(
                "overloaded",
                f"The server's blob store cannot be {done} ({error}). Its operator must check the "
                "data folder's disk and blobs.db.",
            ) from error

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Return the ``digests`` that are not stored."""
        connection = self._connection()
        return {
            digest
            for digest in digests
            if connection.execute(
                "SELECT 1 FROM blobs WHERE digest = ?", (bytes.fromhex(digest),)
            ).fetchone()
            is None
        }

    def stored_bytes(self) -> int:
        """Return the compressed size of all bodies in bytes."""
        row = self._connection().execute("SELECT COALESCE(SUM(LENGTH(body)), 0) FROM blobs")
        return int(row.fetchone()[0])

    def close(self) -> None:
        """Finish pending writes and close every connection."""
        self._writer.shutdown(wait=True)
        for connection in self._connections:
            connection.close()
