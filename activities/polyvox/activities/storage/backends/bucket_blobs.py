"""Blobs in an S3-compatible bucket, through obstore, with an index in a database.

The table ``blobs`` has a row for every blob. Small bodies are in the row; a larger one is an object
of its own, whose name contains its digest and a random part. So whether a blob exists is decided in
one place, by transactions: an object that is being deleted is never the one that a put relies on,
and objects without a row (of a put that was interrupted) can be found and deleted.
"""

import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from polyvox.activities.storage.backends.blob_table import TABLE, TableBlobs, clock
from polyvox.activities.storage.blobs import RENEWED_S, compressed, decompressed, unusable_blobs
from polyvox.activities.storage.database import BLOBS, DatabaseError, open_database

if TYPE_CHECKING:
    from obstore.store import S3Store

log = logging.getLogger(__name__)

_WRITERS = 4
_TRANSFERS = 8
"""The objects that are sent or fetched at the same time."""

_INLINE = 4096
"""The most compressed bytes of a body in the index: most blobs are that small, and a request to a
bucket takes tens of milliseconds."""

_UNFINISHED = timedelta(days=1)
"""An object without a row that is older is one of an interrupted put."""

_WRITE_CHECK = "write-check"


class BucketBlobs(TableBlobs):
    """Blobs in the bucket at ``url`` (``s3://bucket/prefix``), their index in that of ``index``.

    Region, endpoint and keys come from the usual variables of the environment (``AWS_REGION``,
    ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``). Raises DatabaseError if
    the index or the bucket cannot be used.
    """

    def __init__(self, url: str, index: str) -> None:
        self._url = url
        self._bucket = _bucket(url)
        super().__init__(open_database(index, BLOBS), _WRITERS)
        self._transfers = ThreadPoolExecutor(_TRANSFERS, "bucket")
        if wrong := self._bucket_mistake():
            self.close()
            raise DatabaseError(
                f"The bucket {url} cannot be used: {wrong}. Check that it exists, AWS_REGION, "
                "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )

    @property
    def name(self) -> str:
        return self._url

    def put(self, blobs: Mapping[str, bytes]) -> None:
        with self._usable("written"):
            new = self._unknown(blobs)
        if not new:
            return
        bodies = {digest: compressed(blobs[digest]) for digest in sorted(new)}
        objects = {d: _object(d) for d, body in bodies.items() if len(body) > _INLINE}
        with self._reached("written"):
            list(self._transfers.map(self._send, objects.values(), map(bodies.get, objects)))
        rows: list[dict[str, Any]] = [
            {
                "digest": bytes.fromhex(digest),
                "size": len(blobs[digest]),
                "body": b"" if digest in objects else body,
                "object": objects.get(digest),
                "object_bytes": len(body) if digest in objects else None,
            }
            for digest, body in bodies.items()
        ]
        with self._usable("written"), self._engine.begin() as connection:
            taken = {
                digest
                for digest, row in zip(bodies, rows, strict=True)
                if not self._insert(connection, row)
            }
        # Another process stored the same blob at the same time.
        self._delete(objects[digest] for digest in taken if digest in objects)

    def find(self, digests: Iterable[str]) -> dict[str, bytes]:
        wanted = TABLE.c.digest.in_([bytes.fromhex(digest) for digest in digests])
        columns = select(TABLE.c.digest, TABLE.c.body, TABLE.c.object)
        with self._usable("read"), self._engine.connect() as connection:
            rows = connection.execute(columns.where(wanted)).all()
        apart = [(bytes(digest).hex(), name) for digest, _, name in rows if name]
        with self._reached("read"):
            fetched = list(self._transfers.map(self._fetch, [name for _, name in apart]))
        with self._usable("read"):
            found = {
                bytes(digest).hex(): decompressed(bytes(body))
                for digest, body, name in rows
                if not name
            }
            for (digest, _), body in zip(apart, fetched, strict=True):
                if body is not None:
                    found[digest] = decompressed(body)
        return found

    def remove(self, digests: Iterable[str], before: int) -> int:
        wanted = TABLE.c.digest.in_([bytes.fromhex(digest) for digest in digests])
        gone = delete(TABLE).where(wanted, TABLE.c.stored_at < before).returning(TABLE.c.object)
        with self._usable("written"), self._engine.begin() as connection:
            names = list(connection.execute(gone).scalars())
        self._delete(name for name in names if name)
        return len(names)

    def unfinished(self) -> int:
        """Delete the objects of interrupted puts and removals; return how many."""
        old = datetime.now(UTC) - _UNFINISHED
        count = 0
        for page in self._bucket.list():
            names = [
                entry["path"]
                for entry in page
                if "/" in entry["path"] and entry["last_modified"] < old
            ]
            with self._usable("read"), self._engine.connect() as connection:
                known = set(
                    connection.execute(select(TABLE.c.object).where(TABLE.c.object.in_(names)))
                    .scalars()
                    .all()
                )
            lost = [name for name in names if name not in known]
            self._delete(lost)
            count += len(lost)
        return count

    def mistake(self) -> str | None:
        return super().mistake() or self._bucket_mistake()

    def close(self) -> None:
        super().close()
        self._transfers.shutdown(wait=True)

    def _unknown(self, blobs: Iterable[str]) -> set[str]:
        """Return the digests that are not stored, and renew the others."""
        asked = {bytes.fromhex(digest) for digest in blobs}
        known = TABLE.c.digest.in_(asked)
        now = clock(self._engine)
        renewed = update(TABLE).values(stored_at=now).where(TABLE.c.stored_at < now - RENEWED_S)
        with self._engine.begin() as connection:
            connection.execute(renewed.where(known))
            found = connection.execute(select(TABLE.c.digest).where(known)).scalars()
            return {digest.hex() for digest in asked - {bytes(one) for one in found}}

    def _insert(self, connection: Connection, row: dict[str, Any]) -> bool:
        """Insert a row; return False if the blob has one."""
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        new = dialect.insert(TABLE).values(**row, stored_at=clock(self._engine))
        inserted = new.on_conflict_do_nothing().returning(TABLE.c.digest)
        return connection.execute(inserted).first() is not None

    def _send(self, name: str, body: bytes) -> None:
        self._bucket.put(name, body)

    def _fetch(self, name: str) -> bytes | None:
        try:
            return bytes(self._bucket.get(name).bytes())
        except _not_found():
            log.error("The object %s is missing in %s. Was it deleted?", name, self._url)
            return None

    def _delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that cannot be deleted now are found by ``unfinished`` later."""
        given = list(names)
        if not given:
            return
        try:
            self._bucket.delete(given)
        except _bucket_errors() as error:
            log.warning("%d objects in %s cannot be deleted: %s", len(given), self._url, error)

    def _bucket_mistake(self) -> str | None:
        try:
            self._bucket.put(_WRITE_CHECK, b"Polyvox can write here.\n")
        except _bucket_errors() as error:
            return _first_line(error)
        return None

    @contextmanager
    def _reached(self, done: str) -> Iterator[None]:
        try:
            yield
        except _bucket_errors() as error:
            log.error("The bucket %s cannot be %s: %s", self._url, done, error)
            raise unusable_blobs(done, _first_line(error), f"the bucket {self._url}") from error


def _bucket(url: str) -> "S3Store":
    try:
        # An optional dependency; its import takes 50 ms.
        from obstore.exceptions import BaseError  # noqa: PLC0415
        from obstore.store import S3Store  # noqa: PLC0415
    except ImportError:
        raise DatabaseError(
            f"Blobs in a bucket ({url}) need the package obstore: pip install 'polyvox[s3]'."
        ) from None
    try:
        return S3Store.from_url(
            url,
            # The operator names the endpoint, with http or https.
            client_options={"timeout": "30 s", "connect_timeout": "5 s", "allow_http": True},
            retry_config={"max_retries": 2},
        )
    except (BaseError, ValueError) as error:
        raise DatabaseError(
            f"The bucket {url} cannot be used: {_first_line(error)}. Use a URL such as "
            "s3://bucket/prefix."
        ) from None


def _bucket_errors() -> tuple[type[Exception], ...]:
    from obstore.exceptions import BaseError  # noqa: PLC0415

    return (BaseError, OSError)


def _not_found() -> tuple[type[Exception], ...]:
    from obstore.exceptions import NotFoundError  # noqa: PLC0415

    return (NotFoundError, FileNotFoundError)


def _object(digest: str) -> str:
    return f"{digest[:2]}/{digest}.{secrets.token_hex(8)}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
