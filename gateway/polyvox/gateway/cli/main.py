"""The ``polyvox`` command."""

import asyncio
import os

import typer

from polyvox.gateway.cli import demo, flows, keys, models, runs
from polyvox.gateway.cli.apply import apply
from polyvox.gateway.cli.data_folder import give_up
from polyvox.gateway.cli.doctor import doctor
from polyvox.gateway.cli.register import register
from polyvox.gateway.cli.simulate import simulate
from polyvox.gateway.cli.up import up
from polyvox.worker.engine_frontend import EngineError
from polyvox.worker.engine_install import install_engine

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="One model name in front, many voices behind.",
)
app.command()(up)
app.command()(demo.demo)
app.command()(register)
app.command()(apply)
app.command()(simulate)
app.command()(doctor)
app.add_typer(runs.app, name="runs")
app.add_typer(keys.app, name="keys")
app.add_typer(flows.app, name="flows")
app.add_typer(models.app, name="models")

engine_app = typer.Typer(no_args_is_help=True, help="The Temporal engine Polyvox runs on.")
app.add_typer(engine_app, name="engine")


@engine_app.command("install")
def install() -> None:
    """Find the engine's program, or fetch or build it (minutes, once a machine)."""
    try:
        binary = asyncio.run(install_engine(print, environ=dict(os.environ)))
    except EngineError as error:
        give_up(str(error))
    typer.echo(f"Engine: {binary}")


def main() -> None:
    app()
