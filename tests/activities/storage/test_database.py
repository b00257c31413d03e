"""What is opened, completed and refused as the database of a data folder."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from polyvox.activities.ledger.entries import CallEnded, RunEnded, RunStarted
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.database import DatabaseError, file_url, open_database
from polyvox.workflows.reply import Cost

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "polyvox.db"


def started(run_id: str) -> RunStarted:
    return RunStarted(run_id, "careful", "fusion@1", "messages", True, "key_1", NOON)


async def test_a_file_of_an_older_program_gets_the_columns_it_lacks(file: Path) -> None:
    """Its runs are still there, and what it did not count is unknown."""
    async with Ledger.open(file_url(file)) as ledger:
        ledger.record(started("run-1"))
        ledger.record(CallEnded("run-1", "main", 1, "x", "m", "completed", NOON, NOON))
        ledger.record(RunEnded("run-1", "completed", NOON))
    older = sqlite3.connect(file)
    for table in ("alembic_version", "processes", "finished_calls", "idempotency_keys"):
        older.execute(f"DROP TABLE {table}")
    for index in ("runs_by_request", "runs_by_idempotency_key"):
        older.execute(f"DROP INDEX {index}")
    older.execute("ALTER TABLE conversations DROP COLUMN revision")
    added = ("runs.cache_write_1h_tokens", "calls.cache_write_1h_tokens", "calls.process")
    shared = ("listener", "fetchable", "request_digest", "idempotency_key")
    columns = ("runs.rerun_of", "calls.recorded", "calls.cost_usd", *added)
    for column in (*columns, *(f"runs.{name}" for name in shared)):
        older.execute("ALTER TABLE {} DROP COLUMN {}".format(*column.split(".")))
    older.commit()
    older.close()
    async with Ledger.open(file_url(file)) as ledger:
        ledger.record(started("run-2"))
        paid = CallEnded("run-2", "main", 1, "x", "m", "completed", NOON, NOON, cost_usd=0.5)
        ledger.record(paid)
        ledger.record(RunEnded("run-2", "completed", NOON))
        before, after = await ledger.run("run-1"), await ledger.run("run-2")
    assert before is not None
    assert after is not None
    assert before.cost == Cost(0.0, 1)
    assert after.cost == Cost(0.5)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "9999"),
        ("DROP TABLE alembic_version; UPDATE meta SET value = '2'", "2"),
        ("DROP TABLE alembic_version; DELETE FROM meta", "None"),
    ],
    ids=["migrated", "before-migrations", "unknown"],
)
def test_a_newer_schema_is_refused(file: Path, change: str, found: str) -> None:
    """A program that does not know the tables leaves them alone and says what to do."""
    open_database(file_url(file)).dispose()
    other = sqlite3.connect(file)
    other.executescript(change)
    before = list(other.iterdump())
    with pytest.raises(DatabaseError, match=f"schema '{found}'.*newer program.*another data"):
        open_database(file_url(file))
    assert list(other.iterdump()) == before
    other.close()


def test_a_newer_blob_store_is_refused(tmp_path: Path) -> None:
    """It is a database of its own, with revisions of its own."""
    SqliteBlobs(tmp_path / "blobs.db").close()
    other = sqlite3.connect(tmp_path / "blobs.db")
    other.executescript("UPDATE alembic_version SET version_num = '9999'")
    other.close()
    with pytest.raises(DatabaseError, match=r"blobs\.db.*schema '9999'.*newer program"):
        SqliteBlobs(tmp_path / "blobs.db")


def test_a_file_that_is_no_database_is_refused(file: Path) -> None:
    """The error names the file and the remedy."""
    file.write_text("certainly not a database, but long enough to look at " * 50)
    with pytest.raises(DatabaseError, match=r"polyvox\.db.*not a database.*Check"):
        Ledger.open(file_url(file))


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/name"])
def test_an_address_that_is_no_url_is_refused(url: str) -> None:
    """The error shows what an address looks like."""
    with pytest.raises(DatabaseError, match="Give a URL such as"):
        Ledger.open(url)
