"""Checks the models of a configuration file against their flows, before anything is started.

The flows are those that ship and those registered in the data folder. They are copied into a
temporary database, because opening that of the data folder may migrate it.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import SQLModel

from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.tables import FlowRow
from polyvox.activities.storage.database import database_file, file_url, open_database
from polyvox.worker.settings.settings import Reading, in_order
from polyvox.worker.settings.shipped_templates import (
    declared,
    explained,
    known_providers,
    register_templates,
)
from polyvox.workflows.flow import FlowError


def all_mistakes(reading: Reading) -> list[str]:
    """Return every mistake of the settings and of the models they declare, in the file's order."""
    return in_order([*reading.mistakes, *model_mistakes(reading)])


def model_mistakes(reading: Reading) -> list[str]:
    """Return the mistakes in the declared models: flows, parameters, limits, cards, providers."""
    settings = reading.settings
    if not settings.models:
        return []
    with _registry(settings.stores.database_file) as registry:
        try:
            registry.change(
                declared(settings),
                providers={*known_providers(registry, settings), *reading.named_providers},
                dry_run=True,
            )
        except FlowError as error:
            return settings.located(explained(error))
    return []


@contextmanager
def _registry(file: Path | None) -> Iterator[Registry]:
    """Yield a registry with the flows that ship and those of a database file."""
    with tempfile.TemporaryDirectory(prefix="polyvox-check-") as folder:
        database = open_database(file_url(database_file(Path(folder))))
        try:
            if file is not None:
                _copy_flows(file, database)
            registry = Registry(database)
            register_templates(registry)
            yield registry
        finally:
            database.dispose()


def _copy_flows(file: Path, database: Engine) -> None:
    """Copy the rows of the flows from a database of any version; none if it has no such table."""
    if not file.is_file():
        return
    table = SQLModel.metadata.tables[str(FlowRow.__tablename__)]
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", 1.0, uri=True)) as connection:
            found = connection.execute(f'SELECT * FROM "{table.name}"')
            names = [column[0] for column in found.description]
            rows = found.fetchall()
    except sqlite3.Error:
        return
    kept = [at for at, name in enumerate(names) if name in {c.name for c in table.columns}]
    columns = ", ".join(f'"{names[at]}"' for at in kept)
    values = ", ".join("?" for _ in kept)
    with database.begin() as copying:
        for row in rows:
            copying.exec_driver_sql(
                f'INSERT INTO "{table.name}" ({columns}) VALUES ({values})',
                tuple(row[at] for at in kept),
            )
