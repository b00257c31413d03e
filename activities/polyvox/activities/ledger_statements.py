"""The ledger's SQL: statements that write its rows, and a condition that reads them."""

from sqlalchemy import ColumnElement, Connection, Engine, Insert, Table, Update, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped
from sqlmodel import SQLModel, and_

from polyvox.activities.tables import RunRow


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
