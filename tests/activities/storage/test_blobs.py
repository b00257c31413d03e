"""The content-addressed store in a file, in PostgreSQL and in a bucket."""

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from polyvox.activities.storage.backends.opened_blobs import open_blobs
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.blobs import BlobStore, digest_of
from polyvox.workflows.errors import ModelError
from tests.programs.s3 import BUCKET


@pytest.fixture(params=["blobs beside the rows", "bucket"])
def where(
    request: pytest.FixtureRequest, urls: StoreUrls, monkeypatch: pytest.MonkeyPatch
) -> StoreUrls:
    if request.param != "bucket":
        return urls
    for name, value in request.getfixturevalue("s3").items():
        monkeypatch.setenv(name, value)
    return replace(urls, blobs=f"s3://{BUCKET}/{secrets.token_hex(4)}")


@pytest.fixture
def store(where: StoreUrls) -> Iterator[BlobStore]:
    store = open_blobs(where)
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


def test_a_put_outlives_the_program(where: StoreUrls) -> None:
    """Another opening of the store finds it, also while the first is still open."""
    first, second = open_blobs(where), open_blobs(where)
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


def test_processes_that_put_the_same_at_once_store_it_once(where: StoreUrls) -> None:
    """Neither fails, in whatever order each has its blobs."""
    bodies = [os.urandom(6000) for _ in range(20)]
    stores = [open_blobs(where) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        orders = (bodies, bodies[::-1], bodies[5:] + bodies[:5])
        list(threads.map(lambda store, order: put(store, *order), stores, orders))
    assert len(stores[0].listed()) == len(bodies)
    assert [stores[1].get(digest_of(body)) for body in bodies] == bodies
    for store in stores:
        store.close()


def test_many_bodies_are_read_at_once(store: BlobStore) -> None:
    """A missing one is an error, as with a single read."""
    bodies = [b"small", os.urandom(9000)]
    digests = put(store, *bodies)
    assert store.get_all(digests) == dict(zip(digests, bodies, strict=True))
    assert store.find([*digests, digest_of(b"unknown")]).keys() == {*digests}
    with pytest.raises(ModelError, match="missing on the server"):
        store.get_all([*digests, digest_of(b"unknown")])


def test_only_what_was_not_put_lately_is_removed(store: BlobStore) -> None:
    """The time of a blob is that of its last put, by the clock of the store."""
    old, kept = put(store, b"old", os.urandom(9000))
    facts = {blob.digest: blob for blob in store.listed()}
    assert facts[old].size == 3
    assert store.remove([old, kept], facts[old].stored_at) == 0
    assert store.remove([old], store.now() + 1) == 1
    assert store.missing([old, kept]) == {old}
    assert put(store, b"old") == [old]
    assert store.get(old) == b"old"


def test_a_store_that_can_be_written_says_so(store: BlobStore) -> None:
    assert store.mistake() is None
    assert store.listed() == []
