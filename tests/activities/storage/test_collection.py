"""The collection of garbage: what it removes, and what it never removes beside running servers."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from polyvox.activities.storage.backends.opened_blobs import open_blobs
from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.blobs import RENEWED_S, BlobStore, digest_of
from polyvox.activities.storage.collecting.checking import (
    damaged,
    rows_with_references,
    unresolved,
)
from polyvox.activities.storage.collecting.collection import GRACE_S, collect
from polyvox.activities.storage.collecting.references import references
from polyvox.activities.storage.collecting.rows import values_in_rows
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.database import open_database
from polyvox.activities.storage.hidden_transcripts import keep_transcripts
from polyvox.activities.storage.responses import ResponsesStore, StoredResponse
from polyvox.activities.storage.threads import ConversationsStore, new_thread
from polyvox.workflows.conversation import Conversation, Message, Text

AT_ONCE = -60
"""A grace that lets a test remove what it has just put."""

KILLED = """
import sys
import time
from pathlib import Path
from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.collecting.collection import collect
store = SqliteBlobs(Path(sys.argv[1]))
remove = store.remove
def slow(digests, before):
    count = remove(digests, before)
    print(count, flush=True)
    return count
store.remove = slow
collect(store, [sys.argv[2].encode()], grace_s=-60)
"""


@pytest.fixture
def store(urls: StoreUrls) -> Iterator[BlobStore]:
    with ExitStack() as stack:
        opened = open_blobs(urls)
        stack.callback(opened.close)
        yield opened


def said(text: str) -> Message:
    return Message("user", (Text(text),))


def talk(*texts: str) -> Conversation:
    return Conversation(tuple(said(text) for text in texts))


def stored_digests(store: BlobStore) -> set[str]:
    return {blob.digest for blob in store.listed()}


def put(store: BlobStore, body: bytes) -> str:
    store.put({digest_of(body): body})
    return digest_of(body)


async def test_what_rows_refer_to_stays_and_the_rest_goes(
    urls: StoreUrls, store: BlobStore
) -> None:
    """Responses, conversations, hidden transcripts, and all that their blobs refer to."""
    engine = open_database(urls.database)
    bodies = Bodies(store)
    used = await bodies.put(talk("used", "long " * 1000), "key")
    document = {"id": "resp_1", "status": "completed", "output": [], "tools": "x" * 5000}
    responses = ResponsesStore(engine, store, days=30)
    created = int(datetime.now(UTC).timestamp())
    responses.keep(StoredResponse("resp_1", "key", "m", created, used, False, document=document))
    await responses.close()
    threads = ConversationsStore(engine, bodies)
    thread = new_thread([said("in a thread " * 200)], {})
    await threads.create(thread, "key")
    keep_transcripts(engine, {"k": put(store, b"hidden")})
    before = stored_digests(store)
    lost = await bodies.put(talk("unused", "other " * 1000), "key")
    unused = stored_digests(store) - before
    assert lost in unused

    found = collect(store, values_in_rows(engine), grace_s=AT_ONCE)
    assert stored_digests(store) == before
    assert (found.removed, found.used, found.blobs) == (
        len(unused),
        len(before),
        len(before | unused),
    )
    assert Bodies(store).get(used) == talk("used", "long " * 1000)
    assert list(unresolved(store, rows_with_references(engine))) == []
    assert list(damaged(store)) == []

    store.remove([used], store.now() + 60)
    assert [row for row, _ in unresolved(store, rows_with_references(engine))] == ["resp_1"]
    engine.dispose()


async def test_a_new_blob_is_not_removed(store: BlobStore) -> None:
    """The row that will refer to it may not be written yet."""
    put(store, b"about to be used")
    found = collect(store, [])
    assert (found.new, found.removed) == (1, 0)
    assert collect(store, [], grace_s=AT_ONCE, dry_run=True).removed == 1
    assert len(stored_digests(store)) == 1


def test_a_put_during_a_collection_keeps_its_blobs(store: BlobStore) -> None:
    """It relies on blobs that it finds stored, so it renews their time before they are removed."""
    digest = put(store, b"old")
    age(store, 2 * GRACE_S)

    def values() -> Iterator[bytes]:
        yield b"rows that were read before the put"
        put(store, b"old")

    found = collect(store, values())
    assert (found.new, found.removed) == (1, 0)
    assert store.get(digest) == b"old"
    age(store, 2 * GRACE_S)
    assert collect(store, []).removed == 1


async def test_a_process_puts_again_what_it_put_long_ago(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory of stored blobs ends before a collection could remove them."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    bodies = Bodies(store)
    digest = await bodies.put(talk("again"), "key")
    age(store, 2 * GRACE_S)
    now[0] = RENEWED_S - 1.0
    await bodies.put(talk("again"), "key")
    assert {blob.stored_at > store.now() - GRACE_S for blob in store.listed()} == {False}
    now[0] = RENEWED_S + 1.0
    assert await bodies.put(talk("again"), "key") == digest
    assert {blob.stored_at > store.now() - GRACE_S for blob in store.listed()} == {True}
    assert GRACE_S >= 4 * RENEWED_S


def age(store: BlobStore, seconds: int) -> None:
    """Make all blobs older."""
    change = f"UPDATE blobs SET stored_at = stored_at - {seconds}"
    if isinstance(store, SqliteBlobs):
        connection = store._connection()
        with connection:
            connection.execute(change)
        return
    with store._engine.begin() as pooled:  # type: ignore[attr-defined] # a TableBlobs
        pooled.exec_driver_sql(change)


def test_a_digest_is_found_wherever_it_may_be() -> None:
    """As hex digits between others, and in a list of 32 bytes each."""
    digest = digest_of(b"x")
    assert digest in set(references(b'{"base":"' + digest.encode() + b'"}'))
    assert digest in set(references(b"@" + digest.encode() + b"2f0a"))
    assert digest in set(references(bytes.fromhex(digest_of(b"y") + digest)))
    assert list(references(b"nothing here")) == []


@pytest.mark.parametrize("urls", ["sqlite"], indirect=True)
def test_a_collection_that_is_killed_leaves_everything_intact(
    urls: StoreUrls, store: BlobStore
) -> None:
    """What is in use is complete, and the next collection removes the rest."""
    kept = put(store, b"in use")
    for at in range(0, 1000, 500):
        store.put({digest_of(b"%d" % n): b"%d" % n for n in range(at, at + 500)})
    path = str(urls.blobs_file)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, path, kept], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    again = SqliteBlobs(Path(path))
    assert list(damaged(again)) == []
    assert again.get(kept) == b"in use"
    collect(again, [kept.encode()], grace_s=AT_ONCE)
    assert stored_digests(again) == {kept}
    again.close()
