"""The register of the processes that share a database."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from polyvox.activities.storage.database import UtcDateTime


class ProcessRow(SQLModel, table=True):
    """A running process. ``address`` is that of its live lane, null if it has none.

    ``seen_at`` is written every few seconds; a process whose ``seen_at`` is old is dead.
    """

    __tablename__ = "processes"

    process_id: str = Field(primary_key=True)
    role: str
    address: str | None = None
    version: str
    started_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime)
