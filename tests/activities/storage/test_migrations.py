"""The migrations: they make exactly the tables that the stores declare, once, and only when due."""

import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from threading import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlmodel import SQLModel

from polyvox.activities.storage import database
from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.database import BLOBS, MAIN, Schema, file_url, open_database

MIGRATIONS = Path(database.__file__).parent / "migrations"

OLDER = Path(__file__).parents[2] / "fixtures/data_folder/data_folder.tar.xz"
"""A data folder from before there were migrations."""

ROOMS_WITH_TABLES = (
    *("ledger.tables", "ledger.processes", "ledger.ui_sessions", "ledger.requests"),
    *("registry.tables", "storage.threads"),
    *("storage.responses", "storage.flow_memory", "storage.hidden_transcripts"),
)

OPEN_AGAIN = """
import sys
from pathlib import Path
from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.database import file_url, open_database
open_database(file_url(Path("polyvox.db"))).dispose()
SqliteBlobs(Path("blobs.db")).close()
sys.exit("alembic" in sys.modules)
"""


@pytest.mark.parametrize("origin", ["new", "older"])
def test_the_migrations_make_the_tables_that_the_stores_declare(
    tmp_path: Path, origin: str
) -> None:
    """A change to a table needs a migration: the difference says which one."""
    if origin == "older":
        with tarfile.open(OLDER) as packed:
            packed.extract("polyvox.db", tmp_path, filter="data")
    for room in ROOMS_WITH_TABLES:
        import_module(f"polyvox.activities.{room}")
    engine = open_database(file_url(tmp_path / "polyvox.db"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, SQLModel.metadata) == []
        assert set(SQLModel.metadata.tables) == {*inspect(connection).get_table_names()} - {
            "alembic_version"
        }
    engine.dispose()


@pytest.mark.parametrize("schema", [MAIN, BLOBS], ids=["main", "blobs"])
def test_the_program_knows_the_revisions_that_it_ships(schema: Schema) -> None:
    """It compares with the newest before it imports Alembic."""
    folder = str(MIGRATIONS / schema.folder)
    shipped = ScriptDirectory(str(MIGRATIONS), version_locations=[folder]).walk_revisions()
    assert [script.revision for script in shipped] == list(reversed(schema.revisions))


def test_an_up_to_date_folder_opens_without_alembic(tmp_path: Path) -> None:
    """Its import would be a tenth of a second of every start and command."""
    open_database(file_url(tmp_path / "polyvox.db")).dispose()
    SqliteBlobs(tmp_path / "blobs.db").close()
    subprocess.run([sys.executable, "-c", OPEN_AGAIN], cwd=tmp_path, check=True, timeout=60)


def test_of_two_who_open_a_new_database_one_migrates(tmp_path: Path) -> None:
    """The other waits for it."""
    together = Barrier(2)

    def opened(_: int) -> str | None:
        together.wait()
        engine = open_database(file_url(tmp_path / "polyvox.db"))
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()
        engine.dispose()
        return ",".join(row[0] for row in found)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(opened, range(2))) == [MAIN.revisions[-1]] * 2
