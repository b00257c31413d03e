"""Kept conversations that several writers change at the same time, each a process of its own.

The other writer's whole change falls between the moment a change reads the conversation and the
moment it writes: there the store puts its items into the blob store.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from polyvox.activities.storage.backends.opened_blobs import open_blobs
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.database import open_database
from polyvox.activities.storage.threads import ConversationsStore, Thread, new_thread
from polyvox.workflows.conversation import Conversation, Message, Text
from polyvox.workflows.errors import ModelError

KEY = "key_a"

Change = Callable[[], Awaitable[object]]


class InterruptedBodies(Bodies):
    """Bodies that let somebody else act once, when the next conversation is put."""

    meanwhile: Change | None = None

    async def put(self, conversation: Conversation, owner: str) -> str:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().put(conversation, owner)


class Writer:
    """One process: its own connections to the same stores."""

    def __init__(self, urls: StoreUrls) -> None:
        self._engine = open_database(urls.database)
        self._blobs = open_blobs(urls)
        self.bodies = InterruptedBodies(self._blobs)
        self.store = ConversationsStore(self._engine, self.bodies)

    async def close(self) -> None:
        await self.store.close()
        self._blobs.close()
        self._engine.dispose()

    async def append(self, thread: Thread, text: str) -> Thread:
        return await self.store.change(
            thread.conversation_id, KEY, lambda now: now.adding([said(text)])
        )

    async def add_answer(self, thread: Thread, text: str) -> None:
        """Add in the background, as an answer is, and wait until it is written."""
        self.store.add(thread.conversation_id, KEY, [said(text)])
        await self.store.close()

    async def label(self, thread: Thread, team: str) -> Thread:
        return await self.store.change(
            thread.conversation_id, KEY, lambda now: now.labelled({"team": team})
        )

    async def texts(self, thread: Thread) -> list[str]:
        found = await self.store.messages(thread.conversation_id, KEY)
        return [part.text for message in found for part in message.parts if isinstance(part, Text)]


def said(text: str) -> Message:
    return Message("user", (Text(text),))


@asynccontextmanager
async def writer(urls: StoreUrls) -> AsyncIterator[Writer]:
    opened = Writer(urls)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def one(urls: StoreUrls) -> AsyncIterator[Writer]:
    async with writer(urls) as opened:
        yield opened


@pytest.fixture
async def other(one: Writer, urls: StoreUrls) -> AsyncIterator[Writer]:
    async with writer(urls) as opened:
        yield opened


@pytest.fixture
async def thread(one: Writer) -> Thread:
    made = new_thread([said("first")], {"team": "red"})
    await one.store.create(made, KEY)
    return made


async def test_two_answers_added_at_the_same_time_are_both_kept(
    one: Writer, other: Writer, thread: Thread
) -> None:
    """The later one comes behind the one that was written first."""
    one.bodies.meanwhile = lambda: other.add_answer(thread, "other's")
    await one.add_answer(thread, "one's")
    assert await one.texts(thread) == ["first", "other's", "one's"]


async def test_two_appends_at_the_same_time_are_both_kept(
    one: Writer, other: Writer, thread: Thread
) -> None:
    """Whoever lost appends again, to what the other has written."""
    one.bodies.meanwhile = lambda: other.append(thread, "other's")
    longer = await one.append(thread, "one's")
    assert await other.texts(thread) == ["first", "other's", "one's"]
    found = await other.store.find(thread.conversation_id, KEY)
    assert found.item_ids == longer.item_ids


async def test_new_metadata_leave_an_append_of_the_same_time_alone(
    one: Writer, other: Writer, thread: Thread
) -> None:
    """And an append leaves new metadata of the same time alone."""
    one.bodies.meanwhile = lambda: other.append(thread, "second")
    await one.label(thread, "blue")
    other.bodies.meanwhile = lambda: one.label(thread, "green")
    await other.append(thread, "third")
    found = await one.store.find(thread.conversation_id, KEY)
    assert dict(found.metadata) == {"team": "green"}
    assert await one.texts(thread) == ["first", "second", "third"]


async def test_an_append_does_not_undo_a_removal_and_addition_of_the_same_item(
    one: Writer, other: Writer, thread: Thread
) -> None:
    """The items are then the same as before, but not the ids of them."""

    async def replace_item() -> None:
        await other.store.change(
            thread.conversation_id, KEY, lambda now: now.without(now.item_ids[0])
        )
        await other.append(thread, "first")

    one.bodies.meanwhile = replace_item
    longer = await one.append(thread, "second")
    assert await one.texts(thread) == ["first", "second"]
    assert longer.item_ids[0] != thread.item_ids[0]


async def test_what_is_deleted_during_a_change_stays_deleted(
    one: Writer, other: Writer, thread: Thread
) -> None:
    """The change is told that there is no such conversation; an answer is dropped."""
    one.bodies.meanwhile = lambda: other.store.remove(thread.conversation_id, KEY)
    with pytest.raises(ModelError, match="not found"):
        await one.append(thread, "late")
    with pytest.raises(ModelError, match="not found"):
        await other.store.find(thread.conversation_id, KEY)
    again = new_thread([said("first")], {})
    await one.store.create(again, KEY)
    one.bodies.meanwhile = lambda: other.store.remove(again.conversation_id, KEY)
    await one.add_answer(again, "late")
    with pytest.raises(ModelError, match="not found"):
        await one.store.find(again.conversation_id, KEY)


async def test_another_key_changes_and_deletes_nothing(one: Writer, thread: Thread) -> None:
    """For it there is no such conversation."""
    with pytest.raises(ModelError, match="not found"):
        await one.store.change(thread.conversation_id, "key_b", lambda now: now.labelled({}))
    with pytest.raises(ModelError, match="not found"):
        await one.store.remove(thread.conversation_id, "key_b")
    assert (await one.store.find(thread.conversation_id, KEY)).metadata == {"team": "red"}
