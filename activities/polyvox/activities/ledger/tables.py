"""The ledger's tables, and the record of a run that is read from them.

Each column is declared once. Times are UTC-aware. Kinds and states are text, because a newer
program may have written them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlmodel import Field, SQLModel

from polyvox.activities.ledger.entries import total
from polyvox.activities.storage.database import BIG, UtcDateTime
from polyvox.workflows.reply import Cost, Usage

NO_FLOW = "-"
"""The flow of a run whose model was not found."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run or a call failed."""

    kind: str
    message: str | None


class Measured(SQLModel):
    """The columns of both runs and calls: tokens by meter, null if unknown, and the failure."""

    input_tokens: int | None = Field(default=None, sa_type=BIG)
    cache_read_tokens: int | None = Field(default=None, sa_type=BIG)
    cache_write_tokens: int | None = Field(default=None, sa_type=BIG)
    cache_write_1h_tokens: int | None = Field(default=None, sa_type=BIG)
    output_tokens: int | None = Field(default=None, sa_type=BIG)
    reasoning_tokens: int | None = Field(default=None, sa_type=BIG)
    error_kind: str | None = None
    error_message: str | None = None

    @property
    def usage(self) -> Usage:
        return Usage(
            input=self.input_tokens,
            cache_read=self.cache_read_tokens,
            cache_write=self.cache_write_tokens,
            cache_write_1h=self.cache_write_1h_tokens,
            output=self.output_tokens,
            reasoning=self.reasoning_tokens,
        )

    @property
    def error(self) -> Failure | None:
        return None if self.error_kind is None else Failure(self.error_kind, self.error_message)


class RunFacts(Measured):
    """The columns of a run.

    ``listener`` is the process that holds its client, null if nobody waits. The answer of a
    ``fetchable`` run can be read later. ``request_digest`` and ``idempotency_key`` identify the
    request, for clients that send it again.
    """

    run_id: str = Field(primary_key=True)
    model: str
    flow: str
    protocol: str
    stream: bool
    status: str
    key_id: str | None = None
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error_trace: str | None = None
    finish: str | None = None
    rerun_of: str | None = None
    listener: str | None = None
    fetchable: bool | None = None
    request_digest: str | None = None
    idempotency_key: str | None = None
    workflow: bool | None = None
    notes: list[Any] = Field(default_factory=list, sa_type=JSON)
    losses: list[str] = Field(default_factory=list, sa_type=JSON)

    @property
    def duration_ms(self) -> int | None:
        """The time from start to end, None while it is running."""
        return None if self.ended_at is None else _milliseconds(self.started_at, self.ended_at)

    @property
    def has_workflow(self) -> bool:
        """Whether the engine got the run; a request that was refused before has no workflow."""
        return self.workflow is not False and self.flow != NO_FLOW


class RunRow(RunFacts, table=True):
    __tablename__ = "runs"
    __table_args__ = (
        Index("runs_by_start", "started_at", "run_id"),
        Index("runs_by_status", "status", "started_at"),
        Index("runs_by_model", "model", "started_at", "run_id"),
        Index("runs_by_key", "key_id", "started_at", "run_id"),
        Index("runs_by_flow", "flow", "started_at", "run_id"),
        Index("runs_by_request", "key_id", "request_digest"),
        Index("runs_by_idempotency_key", "key_id", "idempotency_key"),
    )


class CallRow(Measured, table=True):
    """One attempt. ``recorded`` and ``call_id`` are null if an older program wrote the row.

    ``status`` is ``running`` until it ends, and ``interrupted`` if its process ended first.
    """

    __tablename__ = "calls"

    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    run_id: str = Field(index=True)
    step: str
    attempt: int
    provider: str
    model: str
    response_model: str | None = None
    status: str
    http_status: int | None = None
    finish: str | None = None
    started_at: datetime = Field(sa_type=UtcDateTime)
    first_token_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    recorded: bool | None = None
    cost_usd: float | None = None
    call_id: str | None = None
    process: str | None = None

    @property
    def duration_ms(self) -> int | None:
        """The time from start to end, None while it is running."""
        return None if self.ended_at is None else _milliseconds(self.started_at, self.ended_at)

    @property
    def spent(self) -> Usage:
        """The tokens of this attempt; ``unknown`` is 1 if it ended without reporting them.

        An attempt for which nothing was sent, or that the provider rejected, used none.
        """
        unused = self.cost_usd == 0 or (self.http_status or 0) >= 400
        if self.status == "running" or (unused and self.usage == Usage()):
            return self.usage
        return self.usage.of_call

    @property
    def first_token_ms(self) -> int | None:
        """The time to the first token, None if none arrived."""
        if self.first_token_at is None:
            return None
        return _milliseconds(self.started_at, self.first_token_at)


class RunRecord(RunFacts):
    """The current record of a run; ``calls`` are in the order in which they started.

    In a list of runs ``calls`` is empty. ``cost`` is that of all calls that have ended, including
    failed attempts.
    """

    calls: list[CallRow] = Field(default_factory=list)
    cost: Cost = Field(default_factory=Cost)

    @property
    def spent(self) -> Usage:
        """The tokens of all calls including failed attempts, which providers bill."""
        return total(call.spent for call in self.calls)

    @property
    def unmetered_calls(self) -> int:
        """The number of calls whose tokens are unknown."""
        return self.spent.unknown


class FinishedCallRow(SQLModel, table=True):
    """The finished Reply of a call whose run has not ended, compressed.

    It is stored before the engine gets the Reply: if the process dies in between, the next attempt
    returns it instead of asking the provider again.
    """

    __tablename__ = "finished_calls"

    run_id: str = Field(primary_key=True)
    call_id: str = Field(primary_key=True)
    reply: bytes


class KeyRow(SQLModel, table=True):
    __tablename__ = "keys"

    key_id: str = Field(primary_key=True)
    sha256: str = Field(unique=True)
    name: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    role: str | None = None


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)
