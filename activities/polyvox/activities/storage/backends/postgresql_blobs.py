"""Blobs in a table of a PostgreSQL database.

Every connection is in autocommit mode: a put is one statement, so one round trip, and so is a read
of any number of blobs. Bodies are sent and received in binary form.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from polyvox.activities.storage.backends.blob_table import TableBlobs
from polyvox.activities.storage.backends.postgresql import postgresql_engine
from polyvox.activities.storage.blobs import RENEWED_S, compressed, decompressed, missing_blob
from polyvox.activities.storage.blobs import unusable_blobs as unusable
from polyvox.activities.storage.database import BLOBS, open_database

T = TypeVar("T")

log = logging.getLogger(__name__)

_WRITERS = 4

_NOW = "floor(extract(epoch from now()))::bigint"

# In the order of the digests, so that two puts of the same blobs never wait for each other.
_PUT = f"""
INSERT INTO blobs (digest, size, body, stored_at)
SELECT digest, size, body, {_NOW}
FROM unnest(%s::bytea[], %s::integer[], %s::bytea[]) AS given (digest, size, body)
ORDER BY digest
ON CONFLICT (digest) DO UPDATE SET stored_at = excluded.stored_at
WHERE blobs.stored_at < excluded.stored_at - {RENEWED_S}
"""

_FIND = "SELECT digest, body FROM blobs WHERE digest = ANY(%s)"


class PostgresqlBlobs(TableBlobs):
    """Blobs in the table ``blobs``. Raises DatabaseError if the database cannot be used."""

    def __init__(self, url: str) -> None:
        open_database(url, BLOBS).dispose()
        super().__init__(_autocommitting(url), _WRITERS)

    def put(self, blobs: Mapping[str, bytes]) -> None:
        if not blobs:
            return
        given = (
            [bytes.fromhex(digest) for digest in blobs],
            [len(body) for body in blobs.values()],
            [compressed(body) for body in blobs.values()],
        )
        self._use("written", lambda connection: connection.execute(_PUT, given))

    def find(self, digests: Iterable[str]) -> dict[str, bytes]:
        asked = [bytes.fromhex(digest) for digest in digests]
        with self._usable("read"):
            rows = self._use(
                "read", lambda connection: connection.execute(_FIND, (asked,), binary=True)
            ).fetchall()
            return {digest.hex(): decompressed(body) for digest, body in rows}

    def get_all(self, digests: Iterable[str]) -> dict[str, bytes]:
        asked = list(digests)
        found = self.find(asked)
        for digest in asked:
            if digest not in found:
                log.error("Blob %s is missing in %s.", digest, self.name)
                raise missing_blob(digest)
        return found

    def _use(self, done: str, query: Callable[["psycopg.Connection[Any]"], T]) -> T:
        """Run ``query`` on a pooled connection; psycopg itself sends and receives in binary."""
        with self._usable(done), self._engine.connect() as pooled:
            connection: Any = pooled.connection.driver_connection
            try:
                return query(connection)
            except psycopg.Error as error:
                log.error("The blob store %s cannot be %s: %s", self.name, done, error)
                raise unusable(done, error, "the database server") from error


def _autocommitting(url: str) -> Engine:
    return postgresql_engine(make_url(url), isolation_level="AUTOCOMMIT")
