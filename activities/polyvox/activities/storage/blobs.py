"""The content-addressed store: bytes under the SHA-256 of themselves, compressed, written once.

SQLite in a file of its own (small blobs are quicker there than as files). All writes of one put
are one transaction on one writer thread, so they are durable together when put returns. With
``synchronous=NORMAL`` that holds against a killed process; a power cut may lose the newest puts.

Errors of the file are ModelErrors, so that whoever asked is told in their own protocol.
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
"""Level 1 compresses 800 KB of text in about 2 ms; higher levels would show in the first token."""


def digest_of(body: bytes) -> str:
    """Return the address of ``body``: its SHA-256 in hex."""
    return hashlib.sha256(body).hexdigest()


class BlobStore:
    """Blobs in one SQLite file. Reads may come from any thread, also a workflow's.

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
            # Closed by close(), which runs on another thread than the one it serves.
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
        """Store bodies by digest, durable on return; those already there are left alone.

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
        """Return those of ``digests`` that are not stored."""
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
        """Return the bytes all bodies take as stored."""
        row = self._connection().execute("SELECT COALESCE(SUM(LENGTH(body)), 0) FROM blobs")
        return int(row.fetchone()[0])

    def close(self) -> None:
        """Finish what is being written and close every connection."""
        self._writer.shutdown(wait=True)
        for connection in self._connections:
            connection.close()
