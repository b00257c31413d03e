"""The ledger's tables, their schema version and the opening of their database."""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Engine, Index, Table, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, Session, SQLModel, create_engine, select

from polyvox.activities.storage.private_files import make_private

SCHEMA = 1
LOCK_WAIT_S = 5.0

log = logging.getLogger(__name__)


class LedgerError(RuntimeError):
    """The ledger cannot be opened; the message says why and what to do."""


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


class MetaRow(SQLModel, table=True):
    __tablename__ = "meta"

    name: str = Field(primary_key=True)
    value: str


TABLES = [SQLModel.metadata.tables[name] for name in ("runs", "calls", "keys", "meta")]


def ledger_file(data: Path) -> Path:
    """Where the ledger lies in a data folder."""
    return data / "polyvox.db"


def file_url(file: Path) -> str:
    """The URL of a SQLite database file."""
    return f"sqlite:///{file.absolute()}"


def open_database(url: str) -> Engine:
    """Connect, make the tables where there are none, and check their version.

    Raises LedgerError for a URL or file that cannot be used and for a newer schema.
    """
    try:
        parsed = make_url(url)
        engine = create_engine(parsed)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise LedgerError(
            f"The ledger's address cannot be used: {error}. "
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
    except LedgerError:
        engine.dispose()
        raise
    return engine


@contextmanager
def errors_explained(engine: Engine) -> Iterator[None]:
    """Turn database errors while stores are opened into a LedgerError that says what to do."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _unusable(engine, _reason(error)) from error


def _unusable(engine: Engine, why: str) -> LedgerError:
    return LedgerError(
        f"The ledger {_shown(engine)} cannot be opened: {why}. Check that it is a Polyvox database "
        "and that this user may write it. If it is damaged, restore it from a backup, or move it "
        "away to start with an empty one: runs, keys and models are then forgotten."
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
        SQLModel.metadata.create_all(engine, tables=TABLES)
        with Session(engine) as session:
            if session.get(MetaRow, "schema") is None:
                session.add(MetaRow(name="schema", value=str(SCHEMA)))
                session.commit()
                log.debug("made the ledger %s", _shown(engine))
        return
    with Session(engine) as session:
        found = session.exec(select(MetaRow.value).where(MetaRow.name == "schema")).first()
    if found is None or not found.isdecimal() or int(found) > SCHEMA:
        raise LedgerError(
            f"The ledger {_shown(engine)} has schema {found!r}; this program knows up to "
            f"{SCHEMA}. Use the newer program that wrote it, or another data folder."
        )
    add_missing_columns(engine, TABLES)
    _add_missing_indexes(engine)


def add_missing_columns(engine: Engine, tables: Sequence[Table]) -> None:
    """Give the tables of an older file the columns this program knows.

    Such a column must be nullable, so that an older program can still write the table.
    """
    known = inspect(engine)
    missing = [
        (table.name, column)
        for table in tables
        if known.has_table(table.name)
        for column in table.columns
        if column.name not in {present["name"] for present in known.get_columns(table.name)}
    ]
    if not missing:
        return
    with engine.begin() as connection:
        for table, column in missing:
            kind = column.type.compile(engine.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column.name} {kind}")


def _add_missing_indexes(engine: Engine) -> None:
    """Make the indexes that an older file lacks; a million runs take a few seconds, once."""
    known = inspect(engine)
    for table in TABLES:
        present = {index["name"] for index in known.get_indexes(table.name)}
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            if index.name not in present:
                index.create(engine)


def _shown(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _reason(error: SQLAlchemyError) -> str:
    """The database's own words, without SQLAlchemy's statement and links."""
    return str(getattr(error, "orig", None) or error)
