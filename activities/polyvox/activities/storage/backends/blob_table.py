"""The table ``blobs`` through SQLAlchemy: what the stores that use it have in common."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import zstandard
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    cast,
    delete,
    func,
    literal,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from polyvox.activities.storage.blobs import BlobFacts, BlobStore, unusable_blobs
from polyvox.activities.storage.database import BLOBS, database_mistake, shown

log = logging.getLogger(__name__)

TABLE = Table(
    "blobs",
    MetaData(),
    Column("digest", LargeBinary, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("stored_at", BigInteger, nullable=False),
    Column("object", String, nullable=True),
    Column("object_bytes", Integer, nullable=True),
)
"""``object`` is the name of the body in a bucket, null if the body is in the row."""


class TableBlobs(BlobStore):
    """A store whose blobs have rows in the table ``blobs`` of ``engine``'s database."""

    def __init__(self, engine: Engine, writers: int) -> None:
        super().__init__(writers)
        self._engine = engine

    @property
    def name(self) -> str:
        return shown(self._engine)

    def missing(self, digests: Iterable[str]) -> set[str]:
        asked = set(digests)
        wanted = TABLE.c.digest.in_([bytes.fromhex(digest) for digest in asked])
        with self._usable("read"), self._engine.connect() as connection:
            found = connection.execute(select(TABLE.c.digest).where(wanted))
            return asked - {bytes(digest).hex() for (digest,) in found}

    def stored_bytes(self) -> int:
        sizes = func.sum(func.length(TABLE.c.body) + func.coalesce(TABLE.c.object_bytes, 0))
        with self._usable("read"), self._engine.connect() as connection:
            return int(connection.execute(select(func.coalesce(sizes, 0))).scalar_one())

    def now(self) -> int:
        with self._usable("read"), self._engine.connect() as connection:
            return int(connection.execute(select(clock(self._engine))).scalar_one())

    def listed(self, after: str = "", limit: int = 1000) -> list[BlobFacts]:
        stored = func.length(TABLE.c.body) + func.coalesce(TABLE.c.object_bytes, 0)
        facts = select(TABLE.c.digest, TABLE.c.size, stored, TABLE.c.stored_at)
        rest = facts.where(TABLE.c.digest > bytes.fromhex(after))
        with self._usable("read"), self._engine.connect() as connection:
            rows = connection.execute(rest.order_by(TABLE.c.digest).limit(limit))
            return [BlobFacts(bytes(digest).hex(), *facts) for digest, *facts in rows]

    def remove(self, digests: Iterable[str], before: int) -> int:
        wanted = TABLE.c.digest.in_([bytes.fromhex(digest) for digest in digests])
        with self._usable("written"), self._engine.begin() as connection:
            gone = connection.execute(delete(TABLE).where(wanted, TABLE.c.stored_at < before))
            return gone.rowcount

    def mistake(self) -> str | None:
        return database_mistake(self._engine, BLOBS)

    def close(self) -> None:
        super().close()
        self._engine.dispose()

    @contextmanager
    def _usable(self, done: str) -> Iterator[None]:
        """Turn the errors of the database into ModelErrors."""
        try:
            yield
        except (SQLAlchemyError, zstandard.ZstdError) as error:
            why = getattr(error, "orig", None) or error
            log.error("The blob store %s cannot be %s: %s", self.name, done, why)
            raise unusable_blobs(done, why, "the database server") from error


def clock(engine: Engine) -> ColumnElement[int]:
    """Return the database's time in whole seconds since the epoch, as SQL.

    The processes that share a PostgreSQL database may run on several machines.
    """
    if engine.dialect.name == "postgresql":
        return cast(func.floor(func.extract("epoch", func.now())), BigInteger)
    return literal(int(time.time()), BigInteger)
