"""Open the ledger and the registry of a data folder for a command.

Commands read the database themselves, so they work whether or not the server runs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.tables import RunRecord
from polyvox.activities.registry.registry import Registry
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.data_folder import DataFolderUnusable, require_writable
from polyvox.activities.storage.database import (
    DatabaseError,
    errors_explained,
    open_database,
)
from polyvox.gateway.cli.input.options import DEFAULT_DATA, give_up
from polyvox.gateway.cli.input.store_options import stores_of
from polyvox.gateway.cli.output.format import RUN_PREFIX
from polyvox.worker.settings.shipped_templates import register_templates
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import FlowError

T = TypeVar("T")

LAST = "last"
"""Names the newest run."""


def with_ledger(data: Path, use: Callable[[Ledger], Awaitable[T]], *, create: bool = False) -> T:
    """Open the ledger in ``data``, use it, close it.

    Prints an error and exits with 1 if there is no ledger (unless ``create``), if it cannot be
    opened, or if ``use`` raises ModelError; with 2 if the data folder cannot be created or written.
    """
    urls = stores_of(data)
    if create:
        _data_folder(data, create=True)
    else:
        require_ledger(urls)

    async def opened() -> T:
        async with Ledger.open(urls.database) as ledger:
            return await use(ledger)

    try:
        return asyncio.run(opened())
    except (DatabaseError, ModelError) as error:
        give_up(str(error))


def require_ledger(urls: StoreUrls) -> None:
    """Exit with 1 if the database is a file that does not exist."""
    file = urls.database_file
    if file is not None and not file.is_file():
        give_up(
            f"There is no ledger {str(file)!r}. Start the server with `polyvox up`, "
            "or name its data folder: --data FOLDER."
        )


def find_run(data: Path, run_id: str) -> RunRecord:
    """Return the run that ``run_id`` names; exit with 1 if the ledger has none."""
    return with_ledger(data, lambda ledger: known_run(ledger, run_id))


async def known_run(ledger: Ledger, run_id: str) -> RunRecord:
    """Return the run whose id begins with ``run_id``, with or without ``run_``; ``last`` is the
    newest one. Raises ModelError if there is none."""
    if run_id == LAST:
        newest = await ledger.runs(limit=1)
        run_id = newest[0].run_id if newest else run_id
    run = await ledger.run(run_id) or await ledger.run(f"{RUN_PREFIX}{run_id}")
    if run is None:
        raise ModelError(
            "not_found", f"There is no run {run_id!r}. `polyvox runs list` shows them."
        )
    return run


def with_registry(data: Path, use: Callable[[Registry], T], *, create: bool = False) -> T:
    """Open the registry in ``data``, with the flows that ship, and use it.

    Also works before the first start. Prints an error and exits with 1 if the folder does not
    exist (unless ``create``, or it is the default one), if the registry cannot be opened, or if
    ``use`` raises FlowError or ModelError; with 2 if the folder cannot be created or written.
    """
    urls = stores_of(data)
    if not urls.is_shared:
        _data_folder(data, create=create)
    try:
        database = open_database(urls.database)
        try:
            with errors_explained(database):
                registry = Registry(database)
                register_templates(registry)
                return use(registry)
        finally:
            database.dispose()
    except (FlowError, DatabaseError, ModelError) as error:
        give_up(str(error))


def _data_folder(data: Path, *, create: bool) -> Path:
    """Return the data folder, which exists and can be written.

    Exits with 1 if it does not exist (unless ``create``, or it is the default one, which commands
    may always create), with 2 if it cannot be created or written.
    """
    folder = data.expanduser()
    if not (create or folder.is_dir() or folder == DEFAULT_DATA.expanduser()):
        give_up(
            f"There is no data folder {str(folder)!r}. Name that of the server: --data FOLDER or "
            f"POLYVOX_DATA. To begin a new one, create it first: mkdir -m 700 {folder}"
        )
    try:
        require_writable(folder)
    except DataFolderUnusable as error:
        give_up(str(error), status=2)
    return folder
