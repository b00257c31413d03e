"""Rows of the ledger's tables from values, and records from rows.

Values become plain dicts, because they are written by the hundred without an ORM object each.
"""

from collections.abc import Iterable
from typing import Any

from polyvox.activities.ledger.entries import (
    CallEnded,
    CallRecord,
    KeyRecord,
    RunEnded,
    RunRecord,
    RunStarted,
    storable,
)
from polyvox.activities.ledger.tables import CallRow, KeyRow, Meters, RunRow
from polyvox.workflows.reply import Cost, Usage

Row = dict[str, Any]

# A provider that answers with a whole web page must not fill the ledger with it.
MESSAGE_LIMIT = 4000


def started_row(run: RunStarted) -> Row:
    return {
        "run_id": run.run_id,
        "model": run.model,
        "flow": run.flow,
        "protocol": run.protocol,
        "stream": run.stream,
        "status": "running",
        "key_id": run.key_id,
        "started_at": run.started_at,
        "rerun_of": run.rerun_of,
        "notes": [],
        "losses": [],
    }


def ended_row(run: RunEnded) -> Row:
    """Parameters of an UPDATE: ``ended_run`` says which run, the rest are columns."""
    return {
        "ended_run": run.run_id,
        "status": run.status,
        "ended_at": run.ended_at,
        "error_kind": run.error_kind,
        "error_message": _short(run.error_message),
        "error_trace": _short(run.error_trace),
        "finish": run.finish,
        "notes": list(run.notes),
        "losses": list(run.losses),
        **_meters(run.usage),
    }


def call_row(call: CallEnded) -> Row:
    return {
        "run_id": call.run_id,
        "step": call.step,
        "attempt": call.attempt,
        "provider": call.provider,
        "model": call.model,
        "response_model": call.response_model,
        "status": call.status,
        "error_kind": call.error_kind,
        "error_message": _short(call.error_message),
        "http_status": call.http_status,
        "finish": call.finish,
        "started_at": call.started_at,
        "first_token_at": call.first_token_at,
        "ended_at": call.ended_at,
        "recorded": call.recorded,
        "cost_usd": call.cost_usd,
        **_meters(call.usage),
    }


def run_record(
    row: RunRow, calls: Iterable[CallRecord] = (), cost: Cost | None = None
) -> RunRecord:
    return RunRecord(
        run_id=row.run_id,
        model=row.model,
        flow=row.flow,
        protocol=row.protocol,
        stream=row.stream,
        status=row.status,
        key_id=row.key_id,
        started_at=row.started_at,
        ended_at=row.ended_at,
        error_kind=row.error_kind,
        error_message=row.error_message,
        finish=row.finish,
        usage=_usage(row),
        notes=tuple(row.notes),
        losses=tuple(row.losses),
        calls=tuple(calls),
        error_trace=row.error_trace,
        rerun_of=row.rerun_of,
        cost=cost or Cost(),
    )


def call_record(row: CallRow) -> CallRecord:
    return CallRecord(
        step=row.step,
        attempt=row.attempt,
        provider=row.provider,
        model=row.model,
        status=row.status,
        started_at=row.started_at,
        ended_at=row.ended_at,
        first_token_at=row.first_token_at,
        usage=_usage(row),
        finish=row.finish,
        response_model=row.response_model,
        error_kind=row.error_kind,
        error_message=row.error_message,
        http_status=row.http_status,
        recorded=bool(row.recorded),
        cost_usd=row.cost_usd,
    )


def key_record(row: KeyRow) -> KeyRecord:
    return KeyRecord(
        row.key_id,
        row.name,
        row.created_at,
        row.revoked_at,
        "admin" if row.role == "admin" else "user",
    )


def _meters(usage: Usage) -> Row:
    usage = storable(usage)
    return {
        "input_tokens": usage.input,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "output_tokens": usage.output,
        "reasoning_tokens": usage.reasoning,
    }


def _usage(row: Meters) -> Usage:
    return Usage(
        input=row.input_tokens,
        cache_read=row.cache_read_tokens,
        cache_write=row.cache_write_tokens,
        output=row.output_tokens,
        reasoning=row.reasoning_tokens,
    )


def _short(message: str | None) -> str | None:
    if message is None or len(message) <= MESSAGE_LIMIT:
        return message
    return message[: MESSAGE_LIMIT - 1] + "…"
