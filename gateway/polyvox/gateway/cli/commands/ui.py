"""``polyvox ui``: a new link to Temporal's Web UI."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from polyvox.activities.ledger.ui_sessions import UiSessions
from polyvox.activities.storage.database import (
    DatabaseError,
    open_database,
)
from polyvox.gateway.api.run_document import run_page
from polyvox.gateway.cli.input.options import DEFAULT_DATA, DataOption, give_up
from polyvox.gateway.cli.input.store_options import stores_of
from polyvox.gateway.cli.input.stores import find_run
from polyvox.gateway.web_ui.address import UiAddress, read_ui_address
from polyvox.worker.engine.data_lock import lock_holder


def ui(
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A run to show: its id, the beginning of it, or last."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    opened: Annotated[bool, typer.Option("--open", help="Also open it in the browser.")] = False,
) -> None:
    """Print a link to Temporal's Web UI that works once, within ten minutes."""
    ui_address = read_ui_address(data)
    if ui_address is None:
        give_up(
            "There is no server with a Web UI on this data folder. Start it with `polyvox up`, "
            "or name its folder: --data FOLDER. With a cluster, set engine.ui_address."
        )
    if lock_holder(data.expanduser()) is None:
        give_up("No server runs on this data folder. Start it with `polyvox up`.")
    target = _page(data, ui_address, run_id) if run_id else ""
    link = ui_address.enter_link(_ticket(data, target))
    typer.echo(link)
    if opened and not webbrowser.open(link):
        give_up("No browser could be started. Open the link above yourself.")


def _page(data: Path, ui_address: UiAddress, run_id: str) -> str:
    """Return the path of the run's page; exit with 1 if it has none."""
    run = find_run(data, run_id)
    if not run.has_workflow:
        give_up(
            f"Run {run.run_id} has no page in the Web UI: it was refused before it reached the "
            f"engine. `polyvox runs show {run.run_id}` says why."
        )
    return run_page(ui_address.namespace, run.run_id)


def _ticket(data: Path, target: str) -> str:
    try:
        database = open_database(stores_of(data).database)
    except DatabaseError as error:
        give_up(str(error))
    try:
        return UiSessions(database).issue_ticket(target)
    finally:
        database.dispose()
