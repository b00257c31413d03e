"""The registry's tables, and the revision by which every process notices a change."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, UniqueConstraint, insert, update
from sqlmodel import Field, Session, SQLModel

from polyvox.activities.storage.database import UtcDateTime


class FlowRow(SQLModel, table=True):
    """One version of a flow. ``source`` is a file's text or a packed folder; see ``bundle.py``."""

    __tablename__ = "flow_versions"
    __table_args__ = (UniqueConstraint("name", "version"), UniqueConstraint("name", "digest"))

    id: int | None = Field(default=None, primary_key=True)
    flow: str = Field(sa_column_kwargs={"name": "name"})
    version: int
    digest: str = Field(index=True)
    source: str
    filename: str
    message: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    author: str | None = None
    description: str | None = None
    needs_params: bool | None = None
    retired_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class VirtualModelRow(SQLModel, table=True):
    """One version of a virtual model; retiring a model adds a version with ``retired`` set."""

    __tablename__ = "virtual_models"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: int | None = Field(default=None, primary_key=True)
    model: str = Field(sa_column_kwargs={"name": "name"})
    version: int
    flow: str
    digest: str
    params: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    description: str = ""
    message: str = ""
    created_at: datetime = Field(sa_type=UtcDateTime)
    limits: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    author: str | None = None
    origin: str | None = None
    retired: bool | None = None
    card: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON, nullable=True))


class RevisionRow(SQLModel, table=True):
    __tablename__ = "registry_revision"

    id: int = Field(default=1, primary_key=True)
    revision: int = 0


def advance(session: Session) -> None:
    """Increase the revision in the transaction that changes the tables.

    Other processes that do the same wait for the end of this transaction.
    """
    table = SQLModel.metadata.tables["registry_revision"]
    advanced = update(table).values(revision=table.c.revision + 1)
    connection = session.connection()
    if connection.execute(advanced).rowcount == 0:
        connection.execute(insert(table).values(id=1, revision=1))
