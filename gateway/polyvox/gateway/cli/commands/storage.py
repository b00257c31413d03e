"""``polyvox storage``: sizes, garbage, checks, backup and restore of the stores."""

import asyncio
import fcntl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from sqlalchemy import Engine, MetaData, func, inspect, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError

from polyvox.activities.storage.backends.opened_blobs import open_blobs
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.blobs import BlobStore
from polyvox.activities.storage.collecting.checking import (
    damaged,
    rows_with_references,
    unresolved,
)
from polyvox.activities.storage.collecting.collection import GRACE_S, Collected
from polyvox.activities.storage.database import DatabaseError, open_database, shown
from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    DataOption,
    EngineOption,
    JsonOption,
    NamespaceOption,
    chosen_engine,
    console,
    give_up,
    give_up_on_engine,
    print_json,
)
from polyvox.gateway.cli.input.store_options import stores_of
from polyvox.gateway.cli.input.stores import require_ledger
from polyvox.worker.stores.backup import Backup, BackupError, back_up, restore
from polyvox.worker.stores.garbage import collect_garbage
from polyvox.workflows.errors import ModelError

T = TypeVar("T")

_LISTED = 20
"""The most faults that are printed; --json prints all."""


def show(data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """Show where the stores are, and how much is in them by kind."""

    def measured(urls: StoreUrls, database: Engine, store: BlobStore) -> dict[str, object]:
        count = stored = 0
        after = ""
        while page := store.listed(after):
            count, stored = count + len(page), stored + sum(blob.stored for blob in page)
            after = page[-1].digest
        engine = [*data.expanduser().glob("engine/temporal-*.db*")]
        return {
            "database": shown(database),
            "blob_store": store.name,
            "rows": _row_counts(database),
            "blobs": {"count": count, "bytes": stored},
            "files": {
                file.name: file.stat().st_size
                for file in (urls.database_file, urls.blobs_file, *engine)
                if file is not None and file.is_file()
            },
        }

    found = _with_stores(data, measured)
    if as_json:
        print_json(found)
        return
    table = Table("kind", "count", "bytes", box=None)
    rows, blobs, files = found["rows"], found["blobs"], found["files"]
    assert isinstance(rows, dict)
    assert isinstance(blobs, dict)
    assert isinstance(files, dict)
    for name, number in rows.items():
        table.add_row(name, f"{number:,}", "")
    table.add_row("blobs", f"{blobs['count']:,}", f"{blobs['bytes']:,}")
    for name, size in files.items():
        table.add_row(name, "", f"{size:,}")
    console().print(f"Database    {found['database']}\nBlob store  {found['blob_store']}\n")
    console().print(table)


def gc(
    data: DataOption = DEFAULT_DATA,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be removed; remove nothing.")
    ] = False,
    grace_hours: Annotated[
        float,
        typer.Option(min=GRACE_S / 3600, help="Remove only blobs that were put before that time."),
    ] = GRACE_S / 3600,
    engine: EngineOption = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove the blobs that nothing refers to; servers may run meanwhile."""
    chosen = chosen_engine(data, engine, namespace)

    def collected(_: StoreUrls, database: Engine, store: BlobStore) -> Collected:
        async def run() -> Collected:
            client = await Client.connect(chosen.address, namespace=chosen.namespace)
            grace_s = int(grace_hours * 3600)
            return await collect_garbage(client, database, store, grace_s=grace_s, dry_run=dry_run)

        with _alone(data):
            return asyncio.run(run())

    try:
        found = _with_stores(data, collected)
    except RPCError as error:
        give_up(f"The engine at {chosen.address} cannot be asked for its runs: {error.message}")
    except RuntimeError:  # what the SDK raises if the engine does not answer
        give_up_on_engine(chosen.address)
    if as_json:
        print_json(asdict(found))
        return
    removed = "would be removed" if dry_run else "removed"
    console().print(
        f"{found.blobs:,} blobs: {found.used:,} in use, {found.new:,} unused but younger than "
        f"{grace_hours:g} h, {found.removed:,} {removed} ({found.removed_bytes:,} bytes)."
    )


def check(data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """Check that every blob is intact and every reference resolves; exit status 1 if not."""

    def checked(_: StoreUrls, database: Engine, store: BlobStore) -> dict[str, list[str]]:
        return {
            "damaged": list(damaged(store)),
            "unresolved": [
                f"{row}: {digest}"
                for row, digest in unresolved(store, list(rows_with_references(database)))
            ],
        }

    found = _with_stores(data, checked)
    if as_json:
        print_json(found)
    else:
        for kind, faults in found.items():
            for fault in islice(faults, _LISTED):
                console().print(f"{kind}  {fault}")
        console().print(
            f"{len(found['damaged'])} damaged blobs, {len(found['unresolved'])} unresolved "
            "references."
        )
    if any(found.values()):
        raise typer.Exit(1)


def backup(
    target: Annotated[Path, typer.Argument(help="The new folder for the backup.")],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Copy the stores and the keys to a new folder; the server may run meanwhile."""
    urls = stores_of(data)
    require_ledger(urls)
    try:
        with _alone(data):
            made = back_up(data.expanduser().absolute(), urls, target.expanduser().absolute())
    except BackupError as error:
        give_up(str(error))
    _print(made, as_json=as_json)


def restore_backup(
    source: Annotated[Path, typer.Argument(help="A folder made by `polyvox storage backup`.")],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Copy a backup into a data folder that is empty or does not exist."""
    try:
        made = restore(source.expanduser().absolute(), data.expanduser().absolute())
    except BackupError as error:
        give_up(str(error))
    _print(made, as_json=as_json)


def _print(made: Backup, *, as_json: bool) -> None:
    if as_json:
        print_json({"folder": str(made.folder), "files": made.files, "notes": list(made.notes)})
        return
    for name, size in made.files.items():
        console().print(f"{size:>14,}  {name}")
    console().print(f"{made.folder}: complete. It contains prompts, answers and keys.")
    for note in made.notes:
        console().print(note)


def _with_stores(data: Path, use: Callable[[StoreUrls, Engine, BlobStore], T]) -> T:
    """Open the stores of ``data``, use them, close them; print a known error and exit with 1."""
    urls = stores_of(data)
    require_ledger(urls)
    try:
        with ExitStack() as stack:
            database = open_database(urls.database)
            stack.callback(database.dispose)
            store = open_blobs(urls)
            stack.callback(store.close)
            return use(urls, database, store)
    except (DatabaseError, ModelError) as error:
        give_up(str(error))
    except SQLAlchemyError as error:
        give_up(f"The database cannot be read: {getattr(error, 'orig', None) or error}")


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Let a backup and a collection of garbage wait for each other.

    Otherwise a backup could contain a row, and lack its blob.
    """
    file = data.expanduser() / "storage.lock"
    if not file.parent.is_dir():
        yield
        return
    with file.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def _row_counts(database: Engine) -> dict[str, int]:
    names = sorted(inspect(database).get_table_names())
    with database.connect() as connection:
        return {
            name: connection.execute(
                select(func.count()).select_from(SqlTable(name, MetaData()))
            ).scalar_one()
            for name in names
            if name != "blobs" and not name.endswith("alembic_version")
        }
