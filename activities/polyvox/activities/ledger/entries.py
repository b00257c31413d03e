"""What the ledger keeps: values going in, records coming out.

All times are UTC-aware. Tokens are a Usage, whose None means that nobody said.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from polyvox.workflows.conversation import Json, Protocol
from polyvox.workflows.errors import ErrorKind
from polyvox.workflows.reply import Cost, FinishReason, Usage

RunStatus = Literal["running", "completed", "failed", "cancelled"]
EndStatus = Literal["completed", "failed", "cancelled"]
Role = Literal["admin", "user"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """``model`` is the public name the client asked for, ``flow`` is like ``fusion@1``."""

    run_id: str
    model: str
    flow: str
    protocol: Protocol
    stream: bool
    key_id: str | None
    started_at: datetime
    rerun_of: str | None = None


@dataclass(frozen=True, slots=True)
class RunEnded:
    """``usage`` is what the run's Reply says; ``notes`` and ``losses`` are JSON values.

    ``error_trace`` is the Python traceback of the flow's own lines, where those raised.
    """

    run_id: str
    status: EndStatus
    ended_at: datetime
    error_kind: ErrorKind | None = None
    error_message: str | None = None
    error_trace: str | None = None
    finish: FinishReason | None = None
    usage: Usage = Usage()
    notes: tuple[Json, ...] = ()
    losses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallEnded:
    """One upstream attempt of a step. ``attempt`` counts from 1.

    ``model`` is the name sent to the provider, ``response_model`` the one it answered with.
    ``usage`` and ``cost_usd`` are counted for failed and cancelled attempts too; None is unknown.
    ``first_token_at`` is None when nothing arrived. ``recorded`` means that nobody was asked: an
    earlier run's answer served.
    """

    run_id: str
    step: str
    attempt: int
    provider: str
    model: str
    status: EndStatus
    started_at: datetime
    ended_at: datetime
    first_token_at: datetime | None = None
    usage: Usage = Usage()
    finish: FinishReason | None = None
    response_model: str | None = None
    error_kind: ErrorKind | None = None
    error_message: str | None = None
    http_status: int | None = None
    recorded: bool = False
    cost_usd: float | None = None


Entry = RunStarted | RunEnded | CallEnded


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run or a call failed."""

    kind: str
    message: str | None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A CallEnded as it was read back; kinds are text, for a newer program may have written it."""

    step: str
    attempt: int
    provider: str
    model: str
    status: str
    started_at: datetime
    ended_at: datetime
    first_token_at: datetime | None
    usage: Usage
    finish: str | None
    response_model: str | None
    error_kind: str | None
    error_message: str | None
    http_status: int | None
    recorded: bool = False
    cost_usd: float | None = None

    @property
    def error(self) -> Failure | None:
        return None if self.error_kind is None else Failure(self.error_kind, self.error_message)

    @property
    def duration_ms(self) -> int:
        return _milliseconds(self.started_at, self.ended_at)

    @property
    def first_token_ms(self) -> int | None:
        """Time to the first token, or None when none came."""
        if self.first_token_at is None:
            return None
        return _milliseconds(self.started_at, self.first_token_at)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as far as it is known; ``calls`` are in the order they started.

    A list of runs leaves ``calls`` empty. ``cost`` is that of all calls that ended so far, failed
    attempts too.
    """

    run_id: str
    model: str
    flow: str
    protocol: str
    stream: bool
    status: str
    key_id: str | None
    started_at: datetime
    ended_at: datetime | None
    error_kind: str | None
    error_message: str | None
    finish: str | None
    usage: Usage
    notes: tuple[Json, ...]
    losses: tuple[str, ...]
    calls: tuple[CallRecord, ...] = ()
    error_trace: str | None = None
    rerun_of: str | None = None
    cost: Cost = field(default_factory=Cost)

    @property
    def error(self) -> Failure | None:
        return None if self.error_kind is None else Failure(self.error_kind, self.error_message)

    @property
    def duration_ms(self) -> int | None:
        """Time from start to end, or None while the run goes on."""
        return None if self.ended_at is None else _milliseconds(self.started_at, self.ended_at)

    @property
    def spent(self) -> Usage:
        """The tokens of all calls, failed attempts too: what the providers will bill."""
        return total(call.usage for call in self.calls)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key without its secret, which nobody can read back. An admin may change the registry."""

    key_id: str
    name: str
    created_at: datetime
    revoked_at: datetime | None
    role: Role = "user"


def total(usages: Iterable[Usage]) -> Usage:
    """Add up meters; one that nobody reported stays unknown."""
    return sum(usages, Usage())


def storable(usage: Usage) -> Usage:
    """Forget counts that cannot be true and that no database or collector can hold.

    A provider may send anything; one absurd number must not cost the rest of its entry.
    """
    counts = (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
    return Usage(*(n if n is None or 0 <= n < 2**63 else None for n in counts))


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)
