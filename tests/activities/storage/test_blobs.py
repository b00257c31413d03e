"""The content-addressed store on a real file."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.blobs import BlobStore, digest_of
from polyvox.workflows.errors import ModelError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    store = SqliteBlobs(tmp_path / "blobs.db")
    yield store
    store.close()


def put(store: BlobStore, *bodies: bytes) -> list[str]:
    store.put({digest_of(body): body for body in bodies})
    return [digest_of(body) for body in bodies]


def test_a_body_comes_back_as_it_was(store: BlobStore) -> None:
    """Empty, textual, random: compression is nobody's business."""
    bodies = [b"", b"text " * 1000, os.urandom(5000)]
    assert [store.get(digest) for digest in put(store, *bodies)] == bodies


def test_the_same_body_is_stored_once(store: BlobStore) -> None:
    """Its address is its content."""
    put(store, b"x" * 100)
    size = store.stored_bytes()
    put(store, b"x" * 100)
    assert store.stored_bytes() == size


def test_what_is_missing_is_told(store: BlobStore) -> None:
    """A missing body is an error that says what is gone and what to do."""
    (known,) = put(store, b"known")
    unknown = digest_of(b"unknown")
    assert store.missing([known, unknown]) == {unknown}
    with pytest.raises(ModelError, match=unknown[:12]):
        store.get(unknown)


def test_a_put_outlives_the_program(tmp_path: Path) -> None:
    """Another opening of the file finds it, also while the first is still open."""
    first, second = SqliteBlobs(tmp_path / "b.db"), SqliteBlobs(tmp_path / "b.db")
    (digest,) = put(first, b"x")
    assert second.get(digest) == b"x"
    first.close()
    second.close()


def test_any_thread_may_read(store: BlobStore) -> None:
    """Workflows run in threads of their own."""
    digests = put(store, *(f"body {n}".encode() for n in range(50)))
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(store.get, digests))
    assert bodies == [f"body {n}".encode() for n in range(50)]
