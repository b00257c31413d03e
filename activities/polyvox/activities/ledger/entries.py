"""The entries of the ledger: runs and calls that start and end.

All times are UTC-aware. A None in a Usage means that the number was not reported.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from polyvox.workflows.conversation import Json, Protocol
from polyvox.workflows.errors import ErrorKind
from polyvox.workflows.reply import METERS, FinishReason, Usage

RunStatus = Literal["running", "completed", "failed", "cancelled"]
EndStatus = Literal["completed", "failed", "cancelled"]
Role = Literal["admin", "user"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """``model`` is the name the client requested, ``flow`` is like ``fusion@1``.

    ``listener`` is the process that holds the client. The answer of a ``fetchable`` run can be read
    later. ``request_digest`` and ``idempotency_key`` identify the request.
    """

    run_id: str
    model: str
    flow: str
    protocol: Protocol
    stream: bool
    key_id: str | None
    started_at: datetime
    rerun_of: str | None = None
    listener: str | None = None
    fetchable: bool = False
    request_digest: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class RunEnded:
    """``usage`` is that of the run's Reply; ``notes`` and ``losses`` are JSON values.

    ``error_trace`` is the Python traceback of the flow's lines if they raised an exception.
    ``workflow`` is False for a run that the engine never got.
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
    workflow: bool = True


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The start of an upstream attempt; its CallEnded has the same run, ``call_id`` and attempt."""

    run_id: str
    step: str
    attempt: int
    provider: str
    model: str
    started_at: datetime
    call_id: str
    process: str | None = None


@dataclass(frozen=True, slots=True)
class CallEnded:
    """One upstream attempt of a step. ``attempt`` counts from 1.

    ``model`` is the name sent to the provider, ``response_model`` the one in its response.
    ``usage`` and ``cost_usd`` are counted for failed and cancelled attempts too; None is unknown.
    ``first_token_at`` is None if nothing arrived. ``recorded`` means that no provider was called
    and a reply of an earlier run was reused. ``call_id`` is the activity's id, unique in its run.
    ``process`` is the id of the process that made it.
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
    call_id: str | None = None
    process: str | None = None


@dataclass(frozen=True, slots=True)
class CallFinished:
    """The end of an attempt and its finished ``reply``, written in one transaction.

    ``reply`` is as ``recovery/finished_replies.py`` packs it.
    """

    ended: CallEnded
    reply: bytes


ANSWERED = ""
"""The ``listener`` of a run whose client has got its answer."""


@dataclass(frozen=True, slots=True)
class RunAnswered:
    """The client of a run has got its whole answer. It does not send its request again."""

    run_id: str


Entry = RunStarted | RunEnded | RunAnswered | CallStarted | CallEnded | CallFinished


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key; its secret is not stored. Only an admin may change the registry."""

    key_id: str
    name: str
    created_at: datetime
    revoked_at: datetime | None
    role: Role = "user"


def total(usages: Iterable[Usage]) -> Usage:
    """Add up usages by their own rules; a meter that was never reported stays unknown."""
    return sum(usages, Usage())


def storable(usage: Usage) -> Usage:
    """Return ``usage`` with None for counts that databases and collectors cannot store.

    Providers may send any number; an impossible one must not cost the rest of its entry.
    """
    counts = (getattr(usage, meter) for meter in METERS)
    return Usage(*(n if n is None or 0 <= n < 2**63 else None for n in counts))
