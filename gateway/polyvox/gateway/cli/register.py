"""``polyvox register``: a flow file becomes the next version of its flow, live at once."""

from pathlib import Path
from typing import Annotated

import orjson
import typer

from polyvox.activities.registry import Registry
from polyvox.activities.tables import LedgerError, file_url, ledger_file, open_database
from polyvox.gateway.cli.data_folder import DEFAULT_DATA, DataOption, give_up
from polyvox.worker.registration import read_flow
from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import FlowError


def register(
    file: Annotated[Path, typer.Argument(help="A Python file with one @flow function.")],
    data: DataOption = DEFAULT_DATA,
    message: Annotated[str, typer.Option("--message", "-m", help="What is new.")] = "",
    model: Annotated[
        str | None, typer.Option(help="Also make this the virtual model of that name.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE for --model, several times; VALUE is JSON or text."),
    ] = None,
) -> None:
    """Register a flow. A running server serves it from its next request on."""
    try:
        source = read_flow(file)
        registry = Registry(open_database(file_url(ledger_file(data.expanduser()))))
        known = {version.name for version in registry.flows()}
        version = registry.register(source, file.name, message=message)
        news = "is unchanged" if version.name in known else "is registered and live"
        typer.echo(f"{version.name} {news}.")
        if model is not None:
            registry.bind(model, version.name, _params(param or []), message=message)
            typer.echo(f"Call it as model {model!r}.")
        elif registry.load(version.digest).needs_params:
            typer.echo(
                f"It needs parameters: give --model NAME --param KEY=VALUE here, or declare "
                f'[models.NAME] flow = "{version.flow}" in polyvox.toml.'
            )
        else:
            typer.echo(
                f"Call it as model {version.flow!r}, this version always as {version.name!r}."
            )
    except (FlowError, LedgerError) as error:
        give_up(str(error))


def _params(given: list[str]) -> dict[str, Json]:
    params: dict[str, Json] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise FlowError(f"--param {pair!r} is not KEY=VALUE.")
        try:
            params[name] = orjson.loads(value)
        except orjson.JSONDecodeError:
            params[name] = value
    return params
