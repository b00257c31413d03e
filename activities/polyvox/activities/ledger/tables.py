"""The ledger's tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlmodel import Field, SQLModel

from polyvox.activities.storage.database import UtcDateTime


class Meters(SQLModel):
    """Tokens by meter, as Usage has them; null is unknown."""

    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


class RunRow(Meters, table=True):
    __tablename__ = "runs"
    __table_args__ = (
        Index("runs_by_start", "started_at", "run_id"),
        Index("runs_by_status", "status", "started_at"),
        Index("runs_by_model", "model", "started_at", "run_id"),
        Index("runs_by_key", "key_id", "started_at", "run_id"),
        Index("runs_by_flow", "flow", "started_at", "run_id"),
    )

    run_id: str = Field(primary_key=True)
    model: str
    flow: str
    protocol: str
    stream: bool
    status: str
    key_id: str | None = None
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error_kind: str | None = None
    error_message: str | None = None
    error_trace: str | None = None
    finish: str | None = None
    rerun_of: str | None = None
    notes: list[Any] = Field(default_factory=list, sa_type=JSON)
    losses: list[str] = Field(default_factory=list, sa_type=JSON)


class CallRow(Meters, table=True):
    __tablename__ = "calls"

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(index=True)
    step: str
    attempt: int
    provider: str
    model: str
    response_model: str | None = None
    status: str
    error_kind: str | None = None
    error_message: str | None = None
    http_status: int | None = None
    finish: str | None = None
    started_at: datetime = Field(sa_type=UtcDateTime)
    first_token_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime = Field(sa_type=UtcDateTime)
    recorded: bool | None = None
    cost_usd: float | None = None


class KeyRow(SQLModel, table=True):
    __tablename__ = "keys"

    key_id: str = Field(primary_key=True)
    sha256: str = Field(unique=True)
    name: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    role: str | None = None
