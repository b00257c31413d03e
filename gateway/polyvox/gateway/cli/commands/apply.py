"""``polyvox apply``: apply the virtual models that a configuration file declares."""

import os
from pathlib import Path
from typing import Annotated

import typer

from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import documents
from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    console,
    give_up,
    print_json,
)
from polyvox.gateway.cli.input.stores import with_registry
from polyvox.gateway.cli.output.plan_text import render_plan
from polyvox.worker.settings.checking import all_mistakes
from polyvox.worker.settings.settings import SettingsError, read_settings
from polyvox.worker.settings.shipped_templates import apply_models


def apply(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Default: the polyvox.toml that `up` would read."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Apply all models of a configuration file as one change, and show what changes.

    A model that the file no longer declares is retired if it came from the file. The file's
    providers and server settings take effect at the next start.
    """
    try:
        reading = read_settings(file, data, environ=dict(os.environ))
    except SettingsError as error:
        give_up(str(error))
    if reading.mistakes:
        give_up("\n".join(all_mistakes(reading)))
    settings = reading.settings
    if settings.config is None:
        give_up(
            "There is no polyvox.toml here or in the data folder. Name a file: polyvox apply FILE."
        )

    def applied(registry: Registry) -> None:
        plan = apply_models(registry, settings, dry_run=True)
        if not as_json:
            console().print(render_plan(plan))
        if not dry_run:
            plan = apply_models(registry, settings)
        if as_json:
            print_json({"dry_run": dry_run, "plan": documents(plan)})
        elif dry_run:
            typer.echo("Nothing was changed.")

    with_registry(data, applied, create=True)
