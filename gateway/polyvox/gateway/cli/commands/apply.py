"""``polyvox apply``: make the virtual models what a configuration file declares."""

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
from polyvox.worker.settings.settings import SettingsError, load_settings
from polyvox.worker.settings.shipped_templates import apply_models


def apply(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Default: the polyvox.toml `up` would read."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Apply a whole configuration file's models as one change, and show what changes.

    A model the file does not declare any more is retired if it came from the file. Providers and
    server settings of the file count from the next start on.
    """
    try:
        settings = load_settings(file, data, environ=dict(os.environ))
    except SettingsError as error:
        give_up(str(error))
    if settings.config is None:
        give_up("There is no polyvox.toml here or in the data folder. Name one: apply FILE.")

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

    with_registry(data, applied)
