"""``polyvox engine``: the executable of the Temporal engine."""

import asyncio
import os

import typer

from polyvox.gateway.cli.input.options import give_up
from polyvox.worker.engine.frontend import EngineError
from polyvox.worker.engine.install import install_engine


def install() -> None:
    """Find the engine's executable, or download or build it (minutes, once per machine)."""
    try:
        binary = asyncio.run(install_engine(print, environ=dict(os.environ)))
    except EngineError as error:
        give_up(str(error))
    typer.echo(f"Engine: {binary}")
