"""Kept responses in a real database: found at once, by their key only, until they expire."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from polyvox.activities.storage.backends.opened_blobs import open_blobs
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.database import open_database
from polyvox.activities.storage.responses import ResponsesStore, StoredResponse

NOW = int(time.time())
DAY_S = 86_400


def response(name: str, *, age_days: float = 0, **members: Any) -> StoredResponse:
    """Return a response that has ended, with one output item of a provider's."""
    response_id = f"resp_run_{name}"
    created = NOW - int(age_days * DAY_S)
    item = {"id": f"msg_{name}", "type": "message", "content": []}
    document = {"id": response_id, "status": "completed", "output": [item], "tools": "x" * 5000}
    return StoredResponse(
        response_id, "key_a", "m", created, "00", False, document=document, **members
    )


@pytest.fixture
async def engine(urls: StoreUrls) -> AsyncIterator[Engine]:
    engine = open_database(urls.database)
    yield engine
    engine.dispose()


@pytest.fixture
async def store(engine: Engine, urls: StoreUrls) -> AsyncIterator[ResponsesStore]:
    blobs = open_blobs(urls)
    store = ResponsesStore(engine, blobs, days=30)
    yield store
    await store.close()
    blobs.close()


def rows(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one())


async def test_a_response_is_found_before_and_after_it_is_written(store: ResponsesStore) -> None:
    """And is the same both times."""
    kept = response("a")
    store.keep(kept)
    assert await store.find(kept.response_id, "key_a") is kept
    await store.flush()
    found = await store.find(kept.response_id, "key_a")
    assert found == kept
    assert found is not kept


async def test_only_its_key_finds_it(store: ResponsesStore) -> None:
    """Queued or written."""
    kept = response("a")
    store.keep(kept)
    assert await store.find(kept.response_id, "key_b") is None
    await store.flush()
    assert await store.find(kept.response_id, "key_b") is None


async def test_what_is_kept_again_replaces_what_was(store: ResponsesStore) -> None:
    """A background response is kept when it begins and when it ends."""
    ended = response("a", background=True)
    store.keep(replace(ended, document=None))
    await store.flush()
    found = await store.find(ended.response_id, "key_a")
    assert found is not None
    assert (found.status, found.output) == ("in_progress", [])
    store.keep(ended)
    await store.flush()
    assert await store.find(ended.response_id, "key_a") == ended


async def test_what_is_forgotten_is_gone_with_all_that_belongs_to_it(
    store: ResponsesStore, engine: Engine
) -> None:
    """At once, and from the database a moment later."""
    kept = response("a")
    store.keep(kept)
    store.keep_frames(kept.response_id, 0, b"data: 0\n\n")
    await store.flush()
    store.forget(kept.response_id)
    assert await store.find(kept.response_id, "key_a") is None
    await store.flush()
    assert await store.find(kept.response_id, "key_a") is None
    tables = ("responses", "response_items", "response_frames")
    assert [rows(engine, table) for table in tables] == [0, 0, 0]


async def test_an_item_of_a_providers_leads_to_its_response(store: ResponsesStore) -> None:
    """Queued or written; an id with the run's in it needs no entry."""
    kept = response("a")
    store.keep(kept)
    assert await store.owners_of("msg_a") == [kept.response_id]
    await store.flush()
    assert await store.owners_of("msg_a") == [kept.response_id]
    assert await store.owners_of("msg_b") == []


async def test_frames_come_back_in_order_and_late_ones_replace(store: ResponsesStore) -> None:
    """A stream that is kept as a whole replaces its pieces."""
    frames = [b"data: %d\n\n" % number for number in range(6)]
    store.keep_frames("resp_a", 0, b"".join(frames[:2]))
    store.keep_frames("resp_a", 2, b"".join(frames[2:4]))
    assert await store.frames("resp_a") == b"".join(frames[:4])
    store.keep_frames("resp_a", 4, b"".join(frames[4:]))
    store.keep_frames("resp_b", 0, b"data: other\n\n")
    assert await store.frames("resp_a") == b"".join(frames)
    store.keep_frames("resp_a", 0, b"".join(frames))
    assert await store.frames("resp_a") == b"".join(frames)


async def test_an_expired_response_is_not_found_and_is_purged(
    store: ResponsesStore, engine: Engine, urls: StoreUrls
) -> None:
    """It is deleted by the next start that keeps something."""
    old, new = response("old", age_days=31), response("new", age_days=29)
    store.keep(response("first"))
    await store.flush()
    store.keep(old)
    store.keep(new)
    store.keep_frames(old.response_id, 0, b"data: 0\n\n")
    await store.flush()
    assert await store.find(old.response_id, "key_a") is None
    assert await store.find(new.response_id, "key_a") is not None
    assert rows(engine, "responses") == 3

    blobs = open_blobs(urls)
    later = ResponsesStore(engine, blobs, days=30)
    later.keep(response("later"))
    await later.close()
    blobs.close()
    tables = ("responses", "response_items", "response_frames")
    assert [rows(engine, table) for table in tables] == [3, 3, 0]


async def test_large_members_that_repeat_are_stored_once(
    store: ResponsesStore, urls: StoreUrls
) -> None:
    """An agent's tools come back in every response object."""
    blobs = open_blobs(urls)
    tools = "".join(chr(33 + number * 7919 % 94) for number in range(20_000))
    sizes = []
    for name in ("a", "b"):
        kept = response(name)
        assert kept.document is not None
        store.keep(replace(kept, document={**kept.document, "tools": tools}))
        await store.flush()
        sizes.append(blobs.stored_bytes())
    assert sizes[1] - sizes[0] < 1000
    blobs.close()
