"""``polyvox register``: a flow becomes the next version of its name, live at once."""

from pathlib import Path
from typing import Annotated

import typer

from polyvox.activities.registry import Registry
from polyvox.activities.virtual_models import Wanted
from polyvox.gateway.cli.assignments import (
    LimitOption,
    MessageOption,
    ParamFileOption,
    ParamOption,
    assigned,
    read_params,
)
from polyvox.gateway.cli.data_folder import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    print_json,
    with_registry,
)
from polyvox.gateway.registry_document import render_flow
from polyvox.worker.registration import examine, read_source
from polyvox.worker.shipped import system_user


def register(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A Python file, or a folder of modules.")
    ],
    data: DataOption = DEFAULT_DATA,
    message: MessageOption = "",
    model: Annotated[
        str | None, typer.Option(help="Also make this the virtual model of that name.")
    ] = None,
    param: ParamOption = None,
    param_file: ParamFileOption = None,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a flow. A running server serves it from its next request on."""

    def registered(registry: Registry) -> None:
        params = read_params(param, param_file)
        author, providers = system_user(), registry.known_providers()
        candidate = examine(
            read_source(path), path.resolve().name, params=params, providers=providers
        )
        for doubt in candidate.doubts:
            typer.echo(f"Warning: {doubt}", err=True)
        known = {version.name for version in registry.flows()}
        version = registry.register(
            candidate.source, candidate.filename, message=message, author=author
        )
        if model is not None:
            wanted = Wanted(version.name, params, limits=assigned(limit, "--limit"))
            registry.change({model: wanted}, author=author, message=message, providers=providers)
        if as_json:
            print_json(render_flow(version))
            return
        news = "is unchanged" if version.name in known else "is registered and live"
        typer.echo(f"{version.name} {news}.")
        if model is not None:
            typer.echo(f"Call it as model {model!r}.")
        elif registry.load(version.digest).needs_params:
            typer.echo(
                f"It needs parameters: polyvox models set NAME --flow {version.flow} --param "
                f'KEY=VALUE, or declare [models.NAME] flow = "{version.flow}" in polyvox.toml.'
            )
        else:
            typer.echo(
                f"Call it as model {version.flow!r}, this version always as {version.name!r}."
            )

    with_registry(data, registered)
