"""The databases: SQLite files or PostgreSQL databases, their opening and their tables' migration.

The tables are declared in the stores that use them. Alembic creates and changes them, revision by
revision, when a database without the newest revision is opened (``migrations/``).
"""

import errno
import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Insert,
    Integer,
    Table,
    event,
    inspect,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import DatabaseError as DBDatabaseError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, Session, SQLModel, create_engine

from polyvox.activities.storage.backends.postgresql import (
    is_postgresql,
    postgresql_engine,
    remedy,
)
from polyvox.activities.storage.data_folder import create_folder
from polyvox.activities.storage.private_files import make_private
from polyvox.workflows.errors import ModelError

LOCK_WAIT_S = 5.0
RETRY_S = 5.0
"""When a client may try again if a database fails."""

FULL_BYTES = 1024 * 1024
"""With less free space SQLite may fail to commit."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_WRITE_CHECK = "write check"

_MIGRATIONS = Path(__file__).parent / "migrations"

_MIGRATING = Lock()
"""Alembic has only one environment per process."""

_POSTGRESQL_LOCK = 0x706F6C79766F78
"""The number of the advisory lock under which one process migrates."""

_BEFORE_MIGRATIONS = "1"
"""The schema version in ``meta`` of databases from before the migrations."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class DatabaseError(RuntimeError):
    """The database cannot be opened; the message contains the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The revisions of a database's tables, oldest first; their files are in ``folder``."""

    folder: str
    revisions: tuple[str, ...]
    holds: str

    def version_table(self, dialect: str) -> str:
        """Return the table of the current revision; one PostgreSQL database may have both."""
        apart = dialect != "sqlite" and self.folder != "main"
        return f"{self.folder}_alembic_version" if apart else "alembic_version"


MAIN = Schema(
    "main",
    ("0001", "0002", "0003", "0004", "0005", "0006", "0007"),
    "runs, keys, models and stored responses",
)
BLOBS = Schema("blobs", ("0001", "0002"), "the conversations of all runs")


BIG = BigInteger().with_variant(Integer(), "sqlite")
"""An integer of 64 bits: all of SQLite's integers have them."""


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


def open_database(url: str, schema: Schema = MAIN) -> Engine:
    """Connect, and migrate the tables to the newest revision of ``schema``.

    Raises DatabaseError for a URL or file that cannot be used and for a newer revision, and
    DataFolderUnusable if the file's folder cannot be created.
    """
    try:
        parsed = make_url(url)
        engine = postgresql_engine(parsed) if is_postgresql(parsed) else create_engine(parsed)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise DatabaseError(
            f"The database's address cannot be used: {error}. Give a URL such as "
            "postgresql://polyvox@127.0.0.1:5432/polyvox or sqlite:////var/lib/polyvox/polyvox.db."
        ) from None
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            create_folder(Path(parsed.database).parent)
        event.listen(engine, "connect", _prepare_sqlite)
    try:
        if parsed.get_backend_name() == "sqlite" and (
            parsed.database and parsed.database != ":memory:"
        ):
            make_private(Path(parsed.database))
        with errors_explained(engine, schema):
            _bring_up_to_date(engine, schema)
    except OSError as error:
        engine.dispose()
        raise _unusable(engine, schema, error.strerror or str(error)) from None
    except DatabaseError:
        engine.dispose()
        raise
    return engine


@contextmanager
def errors_explained(engine: Engine, schema: Schema = MAIN) -> Iterator[None]:
    """Convert database errors while stores are opened to a DatabaseError with the remedy."""
    try:
        yield
    except SQLAlchemyError as error:
        if engine.dialect.name == "postgresql":
            raise DatabaseError(
                f"The database {shown(engine)} cannot be used: {_reason(error).rstrip('.?')}. "
                f"{remedy(engine, error)}"
            ) from error
        raise _unusable(engine, schema, _reason(error)) from error


def run_query(engine: Engine, query: Callable[[Session], T], what: str) -> T:
    """Return the result of ``query``. Blocks.

    Raises ModelError("overloaded") that names ``what`` was queried if the database fails, and
    ModelError("invalid_request") for a value that it does not accept.
    """
    try:
        with Session(engine, expire_on_commit=False) as session:
            return query(session)
    except DataError as error:
        raise ModelError("invalid_request", f"{what}: {_reason(error)}.") from error
    except SQLAlchemyError as error:
        check = (
            "the database server"
            if engine.dialect.name == "postgresql"
            else "the data folder's disk and permissions"
        )
        raise ModelError(
            "overloaded",
            f"{what} cannot be read: {_reason(error)}. Check {check}, then try again.",
            retry_after_s=RETRY_S,
        ) from error


def replacing(engine: Engine, table: Table, rows: Sequence[Mapping[str, Any]]) -> Insert:
    """Return a statement that inserts ``rows``, or replaces those with the same primary key.

    Unlike a look-up before an insert, it does not fail if another process inserts the same row.
    """
    new: postgresql.Insert | sqlite.Insert = (
        postgresql.insert(table) if engine.dialect.name == "postgresql" else sqlite.insert(table)
    ).values(rows)
    changed = {c.name: new.excluded[c.name] for c in table.columns if not c.primary_key}
    return new.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)


def database_mistake(engine: Engine, schema: Schema = MAIN) -> str | None:
    """Return why a database cannot be written, None if it can. Blocks.

    One transaction adds a row and removes it, so a page is written and nothing changes.
    """
    if engine.dialect.name == "sqlite":
        return write_mistake(Path(str(engine.url.database)))
    table = schema.version_table(engine.dialect.name)
    try:
        with engine.begin() as connection:
            new = f"INSERT INTO {table} VALUES ('{_WRITE_CHECK}')"
            connection.exec_driver_sql(new)
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE version_num = '{_WRITE_CHECK}'")
    except SQLAlchemyError as error:
        return _reason(error)
    return None


def write_mistake(file: Path) -> str | None:
    """Return why a database file cannot be written, None if it can. Blocks for up to a second.

    One transaction adds a row and removes it, so a page is written and nothing changes.
    """
    try:
        if shutil.disk_usage(file.parent).free < FULL_BYTES:
            return "the disk is full"
        with (
            closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", 1.0, uri=True)) as connection,
            connection,
        ):
            connection.execute("INSERT INTO alembic_version VALUES (?)", (_WRITE_CHECK,))
            connection.execute("DELETE FROM alembic_version WHERE version_num = ?", (_WRITE_CHECK,))
    except (OSError, sqlite3.Error) as error:
        return str(error)
    return None


def storage_failure(error: BaseException) -> str | None:
    """Return the reason if ``error`` means that a store cannot be used now, None for a defect."""
    if isinstance(error, SQLAlchemyError):
        # The others, such as an unknown column, are mistakes in the program.
        known = type(error) in (OperationalError, InternalError, DBDatabaseError, PoolTimeoutError)
        known = known or getattr(error, "connection_invalidated", False)
        return _reason(error) if known else None
    if isinstance(error, sqlite3.OperationalError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _FULL:
        return error.strerror
    return None


def _unusable(engine: Engine, schema: Schema, why: str) -> DatabaseError:
    return DatabaseError(
        f"The database {shown(engine)} cannot be opened: {why}. Check that it is a database of "
        "Polyvox and that this user may write to it. If it is damaged, restore it from a backup, "
        f"or move it away to start with an empty one: {schema.holds} are then lost."
    )


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # With WAL, readers in other processes (the command line) do not wait for the writer. With
    # NORMAL a power cut may lose the newest rows, but does not damage the file.
    for setting in (f"busy_timeout = {LOCK_WAIT_S * 1000:.0f}", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {setting}").close()
    # SQLite does not wait for a lock here, and another process may be creating the same file.
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _bring_up_to_date(engine: Engine, schema: Schema) -> None:
    newest = schema.revisions[-1]
    with engine.connect() as connection:
        if _revision(connection, schema) == newest:
            return
    with _MIGRATING, engine.begin() as connection:
        _lock_migrations(connection)
        found = _revision(connection, schema)
        if found == newest:
            return
        # Only SQLite files are that old.
        may_be_old = found is None and connection.dialect.name == "sqlite"
        before = _schema_before_migrations(connection) if may_be_old else None
        if found not in (None, *schema.revisions) or before not in (None, _BEFORE_MIGRATIONS):
            raise DatabaseError(
                f"The database {shown(engine)} has schema {found or before!r}; this program knows "
                f"up to {newest!r}. Use the newer program that wrote it, or another data folder."
            )
        _migrate(connection, schema)
        log.debug("migrated %s from %s to %s", shown(engine), found, newest)


def _revision(connection: Connection, schema: Schema) -> str | None:
    """Return the revision of the tables; None if no migration has run yet."""
    table = schema.version_table(connection.dialect.name)
    if not inspect(connection).has_table(table):
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {table}").scalar()
    return None if found is None else str(found)


def _schema_before_migrations(connection: Connection) -> str | None:
    """Return the schema version of a database from before the migrations; None if it is new."""
    if not inspect(connection).has_table("meta"):
        return None
    found = connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'schema'").scalar()
    return str(found)


def _lock_migrations(connection: Connection) -> None:
    """Make other processes wait until the transaction of ``connection`` ends."""
    match connection.dialect.name:
        case "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        case "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_LOCK})")


def _migrate(connection: Connection, schema: Schema) -> None:
    # The import takes 0.1 s, and most starts have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    table = schema.version_table(connection.dialect.name)
    config = Config(attributes={"connection": connection, "version_table": table})
    for name, value in (
        ("script_location", str(_MIGRATIONS)),
        ("version_locations", str(_MIGRATIONS / schema.folder)),
        ("path_separator", "newline"),
    ):
        config.set_main_option(name, value.replace("%", "%%"))
    command.upgrade(config, "head")


def shown(engine: Engine) -> str:
    """Return a database's URL without its password."""
    return engine.url.render_as_string(hide_password=True)


def _reason(error: SQLAlchemyError) -> str:
    """Return the database's message in one line, without what SQLAlchemy adds to it."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
