"""The ledger's SQL: statements that write its rows, and queries that several reads share.

Rows are written as dicts in batches, without an ORM object for each.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Engine,
    Insert,
    Table,
    Update,
    bindparam,
    delete,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped
from sqlmodel import Session, SQLModel, and_, col, func, or_, select

from polyvox.activities.ledger.entries import (
    ANSWERED,
    CallEnded,
    CallFinished,
    CallStarted,
    RunEnded,
    RunStarted,
    storable,
)
from polyvox.activities.ledger.tables import CallRow, FinishedCallRow, RunRow
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import METERS, Cost

Row = dict[str, Any]

# A provider may respond with a whole web page, which must not fill the ledger.
MESSAGE_LIMIT = 4000

_NAMES = {
    entry: tuple(field.name for field in fields(entry))
    for entry in (RunStarted, RunEnded, CallStarted, CallEnded)
}

_CALL_KEY = ("run_id", "call_id", "attempt")

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""For NUL characters, which PostgreSQL does not accept."""


def started_row(run: RunStarted) -> Row:
    return {**columns_of(run), "status": "running", "notes": [], "losses": []}


def ended_row(run: RunEnded) -> Row:
    """Return parameters of ``end_runs``: ``ended_run`` is the run's id, the others are columns."""
    row = columns_of(run)
    return {"ended_run": row.pop("run_id"), **row}


def started_call_row(call: CallStarted) -> Row:
    return {**columns_of(call), "status": "running"}


def ended_call_row(call: CallEnded) -> Row:
    """Return parameters of ``end_calls``: the columns that identify the row have a prefix."""
    row = columns_of(call)
    return {**{f"ended_{name}": row.pop(name) for name in _CALL_KEY}, **row}


def finished_row(call: CallFinished) -> Row:
    return {"run_id": call.ended.run_id, "call_id": call.ended.call_id, "reply": call.reply}


def columns_of(entry: RunStarted | RunEnded | CallStarted | CallEnded) -> Row:
    """Return the columns of an entry, which have the names of its fields."""
    row: Row = {name: getattr(entry, name) for name in _NAMES[type(entry)]}
    if "usage" in row:
        usage = storable(row.pop("usage"))
        row |= {f"{meter}_tokens": getattr(usage, meter) for meter in METERS}
    for name in {"error_message", "error_trace"} & row.keys():
        row[name] = _short(row[name])
    for name in {"notes", "losses"} & row.keys():
        row[name] = list(row[name])
    for name, value in row.items():
        if isinstance(value, str) and "\0" in value:
            row[name] = value.replace("\0", _REPLACEMENT)
    return row


def _short(message: str | None) -> str | None:
    if message is None or len(message) <= MESSAGE_LIMIT:
        return message
    return message[: MESSAGE_LIMIT - 1] + "…"


def table_of(row: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(row.__tablename__)]


def insert_new(dialect: str, table: Table) -> Insert:
    """Return an INSERT that ignores rows with a known key; databases differ in its syntax."""
    match dialect:
        case "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        case "postgresql":
            return postgresql.insert(table).on_conflict_do_nothing()
        case _:
            return table.insert()


def end_runs() -> Update:
    """Return an UPDATE for rows of ``ended_row``; a run that has ended keeps its first end."""
    runs = table_of(RunRow).c
    return update(table_of(RunRow)).where(
        runs.run_id == bindparam("ended_run"), runs.status == "running"
    )


def end_calls() -> Update:
    """Return an UPDATE for rows of ``ended_call_row``.

    An interrupted call may end: its process was taken for dead, and the true end is better.
    """
    calls = table_of(CallRow).c
    same = [calls[name] == bindparam(f"ended_{name}") for name in _CALL_KEY]
    # Not IN: SQLAlchemy refuses it for several rows at once.
    open_calls = or_(calls.status == "running", calls.status == "interrupted")
    return update(table_of(CallRow)).where(*same, open_calls)


def answer_runs() -> Update:
    """Return an UPDATE for rows with the id of a run as ``answered_run``."""
    runs = table_of(RunRow)
    return update(runs).where(runs.c.run_id == bindparam("answered_run")).values(listener=ANSWERED)


def forget_finished_calls() -> Delete:
    """Return a DELETE of the finished Replies of a run, for rows of ``ended_row``."""
    finished = table_of(FinishedCallRow)
    return delete(finished).where(finished.c.run_id == bindparam("ended_run"))


_HIGHEST = chr(0x10FFFF)
"""No text with a prefix sorts after the prefix and this; SQLite compares by code points."""


def begins_with(
    database: Engine | Connection, column: Mapped[str], prefix: str
) -> ColumnElement[bool]:
    """Return a condition that uses the index, which SQLite's case-insensitive LIKE does not."""
    if database.dialect.name == "sqlite":
        return and_(column >= prefix, column < prefix + _HIGHEST)
    return column.startswith(prefix, autoescape=True)


def costs_of(session: Session, run_ids: Sequence[str]) -> dict[str, Cost]:
    """Return the cost of each run's ended calls; runs without such calls are left out."""
    calls = table_of(CallRow).c
    found = session.connection().execute(
        select(
            calls.run_id,
            func.coalesce(func.sum(calls.cost_usd), 0.0),
            func.count() - func.count(calls.cost_usd),
        )
        .where(calls.run_id.in_(run_ids), calls.status != "running")
        .group_by(calls.run_id)
    )
    return {run_id: Cost(float(usd), unknown) for run_id, usd, unknown in found}


def run_by_prefix(session: Session, prefix: str, key_id: str | None) -> RunRow | None:
    if not prefix:
        return None
    begins = begins_with(session.get_bind(), col(RunRow.run_id), prefix)
    alike = select(RunRow).where(begins)
    if key_id is not None:
        alike = alike.where(RunRow.key_id == key_id)
    rows = session.exec(alike.order_by(col(RunRow.run_id)).limit(3)).all()
    if len(rows) > 1:
        ids = ", ".join(repr(row.run_id) for row in rows)
        raise ModelError(
            "invalid_request", f"Several runs begin with {prefix!r}: {ids} ... Give more of the id."
        )
    return rows[0] if rows else None
