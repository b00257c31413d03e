"""The database of a data folder: its file, its opening, its schema version.

The tables stand with the stores that use them.
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import DateTime, Dialect, Engine, Table, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, Session, SQLModel, create_engine, select

from polyvox.activities.storage.private_files import make_private

SCHEMA = 1
LOCK_WAIT_S = 5.0

log = logging.getLogger(__name__)


class DatabaseError(RuntimeError):
    """The database cannot be opened; the message says why and what to do."""


class UtcDateTime(TypeDecorator[datetime]):
    """A UTC-aware datetime, stored without its zone because SQLite has none."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone. Use datetime.now(UTC).")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class MetaRow(SQLModel, table=True):
    __tablename__ = "meta"

    name: str = Field(primary_key=True)
    value: str


def database_file(data: Path) -> Path:
    """Return the database file of a data folder."""
    return data / "polyvox.db"


def file_url(file: Path) -> str:
    """Return the URL of a SQLite database file."""
    return f"sqlite:///{file.absolute()}"


def open_database(url: str) -> Engine:
    """Connect, and check the version of the tables.

    Raises DatabaseError for a URL or file that cannot be used and for a newer schema.
    """
    try:
        parsed = make_url(url)
        engine = create_engine(parsed)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise DatabaseError(
            f"The database's address cannot be used: {error}. "
            "Give a SQLAlchemy URL such as sqlite:////var/lib/polyvox/polyvox.db."
        ) from None
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
    try:
        if parsed.get_backend_name() == "sqlite" and (
            parsed.database and parsed.database != ":memory:"
        ):
            make_private(Path(parsed.database))
        with errors_explained(engine):
            _check_schema(engine)
    except OSError as error:
        engine.dispose()
        raise _unusable(engine, error.strerror or str(error)) from None
    except DatabaseError:
        engine.dispose()
        raise
    return engine


@contextmanager
def errors_explained(engine: Engine) -> Iterator[None]:
    """Turn database errors while stores are opened into a DatabaseError that says what to do."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _unusable(engine, _reason(error)) from error


def _unusable(engine: Engine, why: str) -> DatabaseError:
    return DatabaseError(
        f"The database {_shown(engine)} cannot be opened: {why}. Check that it is a database of "
        "Polyvox and that this user may write it. If it is damaged, restore it from a backup, or "
        "move it away to start with an empty one: runs, keys and models are then forgotten."
    )


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Readers in other processes (the command line) do not wait for the writer. With NORMAL a
    # power cut may cost the newest rows, never the file.
    for setting in (
        f"busy_timeout = {LOCK_WAIT_S * 1000:.0f}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
    ):
        connection.execute(f"PRAGMA {setting}").close()


def _check_schema(engine: Engine) -> None:
    if not inspect(engine).has_table("meta"):
        prepare(engine, [SQLModel.metadata.tables["meta"]])
        with Session(engine) as session:
            if session.get(MetaRow, "schema") is None:
                session.add(MetaRow(name="schema", value=str(SCHEMA)))
                session.commit()
                log.debug("made the database %s", _shown(engine))
        return
    with Session(engine) as session:
        found = session.exec(select(MetaRow.value).where(MetaRow.name == "schema")).first()
    if found is None or not found.isdecimal() or int(found) > SCHEMA:
        raise DatabaseError(
            f"The database {_shown(engine)} has schema {found!r}; this program knows up to "
            f"{SCHEMA}. Use the newer program that wrote it, or another data folder."
        )


def prepare(engine: Engine, tables: Sequence[Table]) -> None:
    """Make the tables where there are none, and the columns and indexes an older file lacks.

    Such a column must be nullable, so that an older program can still write the table. An index
    over a million runs takes a few seconds, once.
    """
    SQLModel.metadata.create_all(engine, tables=tables)
    known = inspect(engine)
    with engine.begin() as connection:
        for table in tables:
            present = {column["name"] for column in known.get_columns(table.name)}
            for column in table.columns:
                if column.name not in present:
                    kind = column.type.compile(engine.dialect)
                    connection.exec_driver_sql(
                        f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}"
                    )
            indexes = {index["name"] for index in known.get_indexes(table.name)}
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                if index.name not in indexes:
                    index.create(connection)


def _shown(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _reason(error: SQLAlchemyError) -> str:
    """The database's own words, without SQLAlchemy's statement and links."""
    return str(getattr(error, "orig", None) or error)
