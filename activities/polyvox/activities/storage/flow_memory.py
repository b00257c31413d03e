"""The memory of flows between requests: JSON values under keys that the flows choose."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, Engine
from sqlmodel import Field, Session, SQLModel, col, select
from temporalio import activity

from polyvox.activities.storage.blobs import digest_of
from polyvox.activities.storage.database import UtcDateTime, replacing
from polyvox.workflows.boundary.backend import RECALL, REMEMBER
from polyvox.workflows.boundary.calls import Memo
from polyvox.workflows.conversation import Json


class MemoRow(SQLModel, table=True):
    __tablename__ = "memos"

    key: str = Field(primary_key=True)
    value: Any = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_type=UtcDateTime)


_MEMOS = SQLModel.metadata.tables["memos"]


class Memos:
    """Values in the ledger's database, by the digest of their key."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @activity.defn(name=REMEMBER)
    async def remember(self, memo: Memo) -> None:
        """Store a value, durable on return; it replaces an earlier value of the same key."""

        def write() -> None:
            key, now = digest_of(memo.key.encode()), datetime.now(UTC)
            row = {"key": key, "value": memo.json, "created_at": now}
            with self._engine.begin() as connection:
                connection.execute(replacing(self._engine, _MEMOS, [row]))

        await asyncio.to_thread(write)

    @activity.defn(name=RECALL)
    async def recall(self, keys: list[str]) -> dict[str, Json]:
        """Return the values of those ``keys`` that have one."""
        return await asyncio.to_thread(self._find, {digest_of(k.encode()): k for k in keys})

    def _find(self, keys: dict[str, str]) -> dict[str, Json]:
        with Session(self._engine) as session:
            rows = session.exec(select(MemoRow).where(col(MemoRow.key).in_(list(keys)))).all()
            return {keys[row.key]: row.value for row in rows}
