"""Conversations of ``/v1/conversations``, which clients refer to by id: ordered items.

The items are in the blob store, like those of every conversation. A reply is added in the
background; the next access to the conversation waits for it.

Every change increases the row's revision, and is written only if the row still has the revision
that the change was made from. Otherwise the change is made again from the new state, so concurrent
changes are not lost and do not restore a deleted conversation.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import JSON, Engine, delete, func, update
from sqlmodel import Field, Session, SQLModel, col

from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.database import UtcDateTime, run_query
from polyvox.workflows.conversation import Conversation, Json, Message
from polyvox.workflows.errors import ModelError

log = logging.getLogger(__name__)

T = TypeVar("T")


class ConversationRow(SQLModel, table=True):
    """``revision`` counts the changes; it is None before the first one."""

    __tablename__ = "conversations"

    conversation_id: str = Field(primary_key=True)
    key_id: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    labels: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    items: str
    item_ids: list[str] = Field(default_factory=list, sa_type=JSON)
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Thread:
    """A stored conversation: its messages and their item ids; ``created`` in seconds."""

    conversation_id: str
    created: int
    metadata: Mapping[str, Json] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    item_ids: tuple[str, ...] = ()

    def adding(self, messages: Sequence[Message]) -> "Thread":
        """Return the conversation with ``messages`` appended."""
        ids = tuple(_id_of(message) for message in messages)
        return replace(self, messages=(*self.messages, *messages), item_ids=(*self.item_ids, *ids))

    def labelled(self, metadata: Mapping[str, Json]) -> "Thread":
        """Return the conversation with other metadata."""
        return replace(self, metadata=dict(metadata))

    def without(self, item_id: str) -> "Thread":
        """Return the conversation without one item. Raises ModelError("not_found")."""
        if item_id not in self.item_ids:
            raise ModelError(
                "not_found", f"Item {item_id!r} not found in {self.conversation_id!r}."
            )
        at = self.item_ids.index(item_id)
        return replace(
            self,
            messages=self.messages[:at] + self.messages[at + 1 :],
            item_ids=self.item_ids[:at] + self.item_ids[at + 1 :],
        )


def new_thread(messages: Sequence[Message], metadata: Mapping[str, Json]) -> Thread:
    """Return a conversation with a new id."""
    thread = Thread(
        f"conv_{secrets.token_hex(16)}", int(datetime.now(UTC).timestamp()), dict(metadata)
    )
    return thread.adding(messages)


def _id_of(message: Message) -> str:
    own = (message.on_wire("responses") or {}).get("id")
    return own if isinstance(own, str) and own else f"item_{secrets.token_hex(12)}"


class ConversationsStore:
    """Stored conversations in the ledger's database, their items in the blob store."""

    def __init__(self, engine: Engine, bodies: Bodies) -> None:
        self._engine = engine
        self._bodies = bodies
        self._adding: dict[str, asyncio.Task[None]] = {}

    async def create(self, thread: Thread, key_id: str) -> None:
        """Store a new conversation."""
        row = ConversationRow(
            conversation_id=thread.conversation_id,
            key_id=key_id,
            created_at=datetime.fromtimestamp(thread.created, UTC),
            **await self._content(thread, key_id),
        )

        def write(session: Session) -> None:
            session.add(row)
            session.commit()

        await self._query(write)

    async def change(
        self, conversation_id: str, key_id: str, edit: Callable[[Thread], Thread]
    ) -> Thread:
        """Replace a conversation of that key by the result of ``edit``, and return it.

        ``edit`` is called again if the conversation has changed in the meantime. Raises
        ModelError("not_found") and what ``edit`` raises.
        """
        await self._added(conversation_id)
        return await self._change(conversation_id, key_id, edit)

    async def _change(
        self, conversation_id: str, key_id: str, edit: Callable[[Thread], Thread]
    ) -> Thread:
        # One of several concurrent writes succeeds, so this ends.
        while True:
            row = await self._row(conversation_id, key_id)
            changed = edit(await self._thread(row))
            content = await self._content(changed, key_id)
            if await self._query(partial(_replace, row=row, content=content)):
                return changed

    async def find(self, conversation_id: str, key_id: str) -> Thread:
        """Return a conversation of that key. Raises ModelError("not_found")."""
        await self._added(conversation_id)
        return await self._thread(await self._row(conversation_id, key_id))

    async def messages(self, conversation_id: str, key_id: str) -> tuple[Message, ...]:
        """Return a conversation's messages. Raises ModelError("not_found")."""
        return (await self.find(conversation_id, key_id)).messages

    async def remove(self, conversation_id: str, key_id: str) -> None:
        """Delete a conversation. Raises ModelError("not_found")."""
        await self._added(conversation_id)
        await self._row(conversation_id, key_id)

        def write(session: Session) -> None:
            row = col(ConversationRow.conversation_id) == conversation_id
            session.connection().execute(delete(ConversationRow).where(row))
            session.commit()

        await self._query(write)

    def add(self, conversation_id: str, key_id: str, messages: Sequence[Message]) -> None:
        """Append ``messages`` in the background; later accesses wait for them."""
        before = self._adding.get(conversation_id)

        async def add() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await self._change(conversation_id, key_id, lambda now: now.adding(messages))
            except ModelError as error:
                if error.kind == "not_found":  # deleted before the reply was complete
                    return
                log.error("A reply is missing in conversation %s: %s", conversation_id, error)
            finally:
                if self._adding.get(conversation_id) is asyncio.current_task():
                    del self._adding[conversation_id]

        self._adding[conversation_id] = asyncio.get_running_loop().create_task(add())

    async def close(self) -> None:
        """Wait until all pending messages are added."""
        if adding := list(self._adding.values()):
            await asyncio.wait(adding)

    async def _added(self, conversation_id: str) -> None:
        """Wait until this process has added the pending messages of a conversation."""
        if (adding := self._adding.get(conversation_id)) is not None:
            await asyncio.wait([adding])

    async def _content(self, thread: Thread, key_id: str) -> dict[str, Any]:
        """Store the items and return the columns that a change may change."""
        return {
            "labels": dict(thread.metadata),
            "items": await self._bodies.put(Conversation(thread.messages), key_id),
            "item_ids": list(thread.item_ids),
        }

    async def _row(self, conversation_id: str, key_id: str) -> ConversationRow:
        row = await self._query(lambda session: session.get(ConversationRow, conversation_id))
        if row is None or row.key_id != key_id:
            raise ModelError(
                "not_found",
                f"Conversation with id {conversation_id!r} not found.",
                param="conversation",
                code="conversation_not_found",
            )
        return row

    async def _thread(self, row: ConversationRow) -> Thread:
        return Thread(
            row.conversation_id,
            int(row.created_at.timestamp()),
            row.labels,
            (await self._bodies.fetch(row.items)).messages,
            tuple(row.item_ids),
        )

    async def _query(self, query: Callable[[Session], T]) -> T:
        return await asyncio.to_thread(run_query, self._engine, query, "The conversations")


def _replace(session: Session, row: ConversationRow, content: dict[str, Any]) -> bool:
    """Write ``content`` to ``row``; return False if the row has been changed since."""
    revision = row.revision or 0
    same_row = col(ConversationRow.conversation_id) == row.conversation_id
    same_revision = func.coalesce(col(ConversationRow.revision), 0) == revision
    written = session.connection().execute(
        update(ConversationRow)
        .where(same_row, same_revision)
        .values(**content, revision=revision + 1)
    )
    session.commit()
    return written.rowcount == 1
