"""The statements that write the ledger's rows."""

from sqlalchemy import Insert, Table, Update, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel

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
