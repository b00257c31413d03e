"""Opens the blob store at a URL."""

from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.blobs import BlobStore


def open_blobs(urls: StoreUrls) -> BlobStore:
    """Open the blob store; its tables are created if they do not exist.

    Raises DatabaseError, whose message contains the remedy.
    """
    if (file := urls.blobs_file) is not None:
        return SqliteBlobs(file)
    # A server on SQLite needs neither of these.
    if urls.blobs.startswith("s3:"):
        from polyvox.activities.storage.backends.bucket_blobs import BucketBlobs  # noqa: PLC0415

        return BucketBlobs(urls.blobs, urls.index)
    from polyvox.activities.storage.backends.postgresql_blobs import (  # noqa: PLC0415
        PostgresqlBlobs,
    )

    return PostgresqlBlobs(urls.blobs)
