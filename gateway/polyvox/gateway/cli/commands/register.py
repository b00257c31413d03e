"""``polyvox register``: store a flow as the next version of its name."""

from pathlib import Path
from typing import Annotated

import typer

from polyvox.gateway.cli.input.key_value import (
    LimitOption,
    MessageOption,
    ParamFileOption,
    ParamOption,
)
from polyvox.gateway.cli.input.options import DEFAULT_DATA, DataOption, JsonOption
from polyvox.gateway.cli.lazy import imported
from polyvox.worker.registering.dry_run import DryRuns


def register(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A Python file, or a folder of modules.")
    ],
    data: DataOption = DEFAULT_DATA,
    message: MessageOption = "",
    model: Annotated[
        str | None, typer.Option(help="Also bind the flow to a virtual model of this name.")
    ] = None,
    param: ParamOption = None,
    param_file: ParamFileOption = None,
    limit: LimitOption = None,
    unset: Annotated[
        list[str] | None, typer.Option(help="A parameter of --model to remove; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Register a flow. A running server uses it from the next request on.

    A model named by --model gets the new version and keeps its other settings. Other models keep
    their version.
    """
    # The processes of the dry run take half a second to start: the registry is imported meanwhile.
    with DryRuns() as dry_runs:
        registering = imported("registering")
        order = registering.Order(path, message, model, param, param_file, limit, unset)
        registering.registered(data, order, dry_runs, as_json=as_json)
