"""The data folder as the commands see it that only look: its ledger and its Web UI.

They read the database file themselves, so they work whether or not the server runs.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import orjson
import typer
from rich.console import Console

from polyvox.activities.ledger import Ledger
from polyvox.activities.registry import Registry
from polyvox.activities.tables import LedgerError, file_url, ledger_file, open_database
from polyvox.gateway.run_document import workflow_link
from polyvox.worker.ports import LOOPBACK, read_ports
from polyvox.worker.shipped import register_templates
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import FlowError

DEFAULT_DATA = Path("~/.polyvox")
NAMESPACE = "default"
# Wide enough for a run id and the rest of a row when the output is not a terminal.
PIPE_WIDTH = 160

DataOption = Annotated[
    Path,
    typer.Option("--data", envvar="POLYVOX_DATA", help="The data folder of `polyvox up`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

T = TypeVar("T")


def with_ledger(data: Path, use: Callable[[Ledger], Awaitable[T]], *, create: bool = False) -> T:
    """Open the ledger in ``data``, use it, close it.

    Prints what is wrong and exits with 1 if there is none (unless ``create``), if it cannot be
    opened, or if ``use`` raises ModelError.
    """
    file = ledger_file(data.expanduser())
    if not create and not file.is_file():
        give_up(
            f"There is no ledger {str(file)!r}. Start the server with `polyvox up`, "
            "or name its data folder: --data FOLDER."
        )

    async def opened() -> T:
        async with Ledger.open(file_url(file)) as ledger:
            return await use(ledger)

    try:
        return asyncio.run(opened())
    except (LedgerError, ModelError) as error:
        give_up(str(error))


def with_registry(data: Path, use: Callable[[Registry], T]) -> T:
    """Open the registry in ``data``, with the flows that ship, and use it.

    Works before the first start too. Prints what is wrong and exits with 1 if it cannot be opened,
    or if ``use`` raises FlowError or ModelError.
    """
    try:
        database = open_database(file_url(ledger_file(data.expanduser())))
        try:
            registry = Registry(database)
            register_templates(registry)
            return use(registry)
        finally:
            database.dispose()
    except (FlowError, LedgerError, ModelError) as error:
        give_up(str(error))


def engine_link(data: Path, run_id: str) -> str | None:
    """The run's page in the Web UI of the engine in ``data``; None if it has no engine."""
    ports = read_ports(data.expanduser() / "engine" / "ports.json")
    return workflow_link(f"http://{LOOPBACK}:{ports.ui}" if ports else None, NAMESPACE, run_id)


def engine_address(data: Path) -> str | None:
    """Where the engine in ``data`` was last reached; None if it has no engine."""
    ports = read_ports(data.expanduser() / "engine" / "ports.json")
    return f"{LOOPBACK}:{ports.frontend}" if ports else None


def console() -> Console:
    """Standard output; as wide as a row needs where no terminal sets the width."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def print_json(document: Any) -> None:
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def give_up(message: str) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(1)
