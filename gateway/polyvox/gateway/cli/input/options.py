"""Options, the engine's address, printing, and exiting with an error.

Every command imports this module, so it must import quickly.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import orjson
import typer
from rich.console import Console

from polyvox.gateway.web_ui.address import read_ui_address
from polyvox.worker.engine.ports import LOOPBACK, read_ports

DEFAULT_DATA = Path("~/.polyvox")
# Wide enough for a run id and the rest of a row when the output is not a terminal.
PIPE_WIDTH = 160

DataOption = Annotated[
    Path,
    typer.Option("--data", envvar="POLYVOX_DATA", help="The data folder of `polyvox up`."),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        envvar="TEMPORAL_ADDRESS",
        help="HOST:PORT of a Temporal cluster; default: the engine in the data folder.",
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", envvar="TEMPORAL_NAMESPACE", help="The engine's namespace."),
]
RunArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help="A run's id, the beginning of one, or last: the newest run."),
]
FlowArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A flow or a version, such as careful@2.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def engine_link(data: Path, run_id: str) -> str | None:
    """Return the run's page in the Web UI of the server on ``data``; None if it has none."""
    ui_address = read_ui_address(data)
    return ui_address.run_link(run_id) if ui_address else None


class EngineAddress(NamedTuple):
    """A Temporal frontend as ``host:port``, and the namespace that holds the runs."""

    address: str
    namespace: str


def own_engine(data: Path) -> EngineAddress | None:
    """Return where the engine in ``data`` was last reached; None if it has no engine."""
    ports = read_ports(data.expanduser() / "engine" / "ports.json")
    return EngineAddress(f"{LOOPBACK}:{ports.frontend}", ports.namespace) if ports else None


def chosen_engine(data: Path, address: str | None, namespace: str | None) -> EngineAddress:
    """Return the engine that the options name, else the one in ``data``; give up without one."""
    chosen = EngineAddress(address, "default") if address else own_engine(data)
    if chosen is None:
        give_up("No engine runs on this data folder. Start the server with `polyvox up`.")
    return chosen._replace(namespace=namespace) if namespace else chosen


def give_up_on_engine(address: str) -> NoReturn:
    give_up(f"The engine at {address} does not answer. Start the server with `polyvox up`.")


def console() -> Console:
    """Return a console on standard output, wide enough for a row if it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def print_json(document: Any) -> None:
    """Print a value as JSON; it may hold documents of the API, which are pydantic models."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z
    typer.echo(orjson.dumps(document, dict, option))


def give_up(message: str, *, status: int = 1) -> NoReturn:
    """Print an error and exit with ``status``: 2 for what the command line itself has wrong."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(status)
