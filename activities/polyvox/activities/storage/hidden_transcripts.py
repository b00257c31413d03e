"""Stores the hidden messages of turns; see ``polyvox.workflows.steps.transcript``.

The messages are in the blob store, their digests in a table. If they are lost, the provider's cache
misses and the model may repeat tool calls, but the request still succeeds.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import orjson
from sqlalchemy import Engine
from sqlmodel import Field, Session, SQLModel, col, select
from temporalio import activity

from polyvox.activities.storage.blobs import BlobStore, digest_of
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.database import UtcDateTime, replacing
from polyvox.workflows.boundary.backend import REMEMBER_TRANSCRIPT
from polyvox.workflows.boundary.calls import HiddenTurn
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.conversation import Conversation, Message
from polyvox.workflows.errors import ModelError
from polyvox.workflows.steps.transcript import assistant_turns, reply_key, restore


class TranscriptRow(SQLModel, table=True):
    __tablename__ = "transcripts"

    key: str = Field(primary_key=True)
    digest: str
    created_at: datetime = Field(sa_type=UtcDateTime)


def keep_transcripts(engine: Engine, digests: Mapping[str, str]) -> None:
    """Store digests by key, durable on return; they replace those of the same keys."""
    now = datetime.now(UTC)
    rows = [{"key": key, "digest": digests[key], "created_at": now} for key in sorted(digests)]
    with engine.begin() as connection:
        connection.execute(replacing(engine, SQLModel.metadata.tables["transcripts"], rows))


class Memory:
    """Hidden messages by the visible messages of their turn."""

    def __init__(self, engine: Engine, store: BlobStore, bodies: Bodies) -> None:
        self._engine = engine
        self._store = store
        self._bodies = bodies

    @activity.defn(name=REMEMBER_TRANSCRIPT)
    async def remember(self, hidden: HiddenTurn) -> None:
        """Store a turn's hidden messages, durable on return; storing them again changes nothing."""
        client = await self._bodies.fetch(hidden.base)
        body = orjson.dumps(dump(hidden.messages))
        digest = digest_of(body)
        key = reply_key(client.messages, hidden.visible, hidden.owner)

        def write() -> None:
            self._store.put({digest: body})
            keep_transcripts(self._engine, {key: digest})

        await self._store.on_writer(write)

    async def restored(
        self, conversation: Conversation, client: Sequence[Message], owner: str
    ) -> Conversation:
        """Return ``conversation`` with the stored hidden messages of the ``client``'s turns."""
        turns = assistant_turns(client, owner)
        if not turns:
            return conversation
        found = await asyncio.to_thread(self._find, [turn.key for turn in turns])
        return restore(conversation, client, turns, found)

    def _find(self, keys: Iterable[str]) -> dict[str, tuple[Message, ...]]:
        with Session(self._engine) as session:
            rows = session.exec(select(TranscriptRow).where(col(TranscriptRow.key).in_(keys))).all()
        found: dict[str, tuple[Message, ...]] = {}
        for row in rows:
            # A missing blob is already logged; the turn continues without its hidden messages.
            with suppress(ModelError):
                found[row.key] = load(orjson.loads(self._store.get(row.digest)))
        return found
