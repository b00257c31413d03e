"""The ledger's SQL: statements that write its rows, and queries that several reads share.

Rows are written as plain dicts, by the hundred and without an ORM object each.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Insert, Table, Update, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped
from sqlmodel import Session, SQLModel, and_, col, func, select

from polyvox.activities.ledger.entries import CallEnded, RunEnded, RunStarted, storable
from polyvox.activities.ledger.tables import CallRow, RunRow
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Cost

Row = dict[str, Any]

# A provider that answers with a whole web page must not fill the ledger with it.
MESSAGE_LIMIT = 4000


def started_row(run: RunStarted) -> Row:
    return {**_columns(run), "status": "running", "notes": [], "losses": []}


def ended_row(run: RunEnded) -> Row:
    """Parameters of an UPDATE: ``ended_run`` says which run, the rest are columns."""
    row = _columns(run)
    return {"ended_run": row.pop("run_id"), **row}


def call_row(call: CallEnded) -> Row:
    return _columns(call)


def _columns(entry: RunStarted | RunEnded | CallEnded) -> Row:
    """Return an entry by the names of columns, which are those of its fields."""
    row: Row = {field.name: getattr(entry, field.name) for field in fields(entry)}
    if "usage" in row:
        usage = storable(row.pop("usage"))
        row |= {f"{meter.name}_tokens": getattr(usage, meter.name) for meter in fields(usage)}
    for name in {"error_message", "error_trace"} & row.keys():
        row[name] = _short(row[name])
    for name in {"notes", "losses"} & row.keys():
        row[name] = list(row[name])
    return row


def _short(message: str | None) -> str | None:
    if message is None or len(message) <= MESSAGE_LIMIT:
        return message
    return message[: MESSAGE_LIMIT - 1] + "…"


def table_of(row: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(row.__tablename__)]


def insert_new(dialect: str, table: Table) -> Insert:
    """An INSERT that leaves a row alone whose key is known; SQL has no common word for that."""
    match dialect:
        case "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        case "postgresql":
            return postgresql.insert(table).on_conflict_do_nothing()
        case _:
            return table.insert()


def end_runs() -> Update:
    """An UPDATE for rows of ``ended_row``; a run that has ended keeps its first end."""
    runs = table_of(RunRow).c
    return update(table_of(RunRow)).where(
        runs.run_id == bindparam("ended_run"), runs.status == "running"
    )


_HIGHEST = chr(0x10FFFF)
"""No text sorts behind a prefix and this, in the order of code points that SQLite compares by."""


def begins_with(
    database: Engine | Connection, column: Mapped[str], prefix: str
) -> ColumnElement[bool]:
    """Return a condition that an index can serve; SQLite's LIKE, which ignores case, has none."""
    if database.dialect.name == "sqlite":
        return and_(column >= prefix, column < prefix + _HIGHEST)
    return column.startswith(prefix, autoescape=True)


def costs_of(session: Session, run_ids: Sequence[str]) -> dict[str, Cost]:
    """Return what the calls of each run cost; a run without calls is left out."""
    calls = table_of(CallRow).c
    found = session.connection().execute(
        select(
            calls.run_id,
            func.coalesce(func.sum(calls.cost_usd), 0.0),
            func.count() - func.count(calls.cost_usd),
        )
        .where(calls.run_id.in_(run_ids))
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
