"""``polyvox up``: the whole program, until a signal ends it; ``roles.py`` has its halves."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import uvloop
from rich.console import Console
from temporalio.exceptions import ActivityError

from polyvox.activities.storage.data_folder import DataFolderUnusable
from polyvox.activities.storage.database import DatabaseError
from polyvox.activities.storage.deployment_key import DeploymentKeyError
from polyvox.gateway.cli.input.options import give_up
from polyvox.gateway.cli.output.connecting import show
from polyvox.gateway.cli.output.logs import configure_logs
from polyvox.gateway.http.serving import PortTaken
from polyvox.gateway.own_keys import UnusableKey
from polyvox.gateway.program import UnsafeHost, started
from polyvox.worker.engine.data_lock import DataFolderInUse
from polyvox.worker.engine.frontend import EngineError
from polyvox.worker.hosting.lane_port import LanePortError
from polyvox.worker.settings.checking import all_mistakes
from polyvox.worker.settings.file import LogFormat, LogLevel
from polyvox.worker.settings.settings import (
    BLOBS_VARIABLE,
    DATABASE_VARIABLE,
    Reading,
    Settings,
    SettingsError,
    read_settings,
)
from polyvox.workflows.boundary.failures import model_error
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import FlowError

# Errors of the caller; each message says what to do.
CALLING_ERRORS = (
    DataFolderInUse,
    EngineError,
    FlowError,
    LanePortError,
    DatabaseError,
    DeploymentKeyError,
    ModelError,  # the ledger cannot be read or written
    PortTaken,
    SettingsError,
    UnsafeHost,
    UnusableKey,
)

DataOption = Annotated[
    Path | None,
    typer.Option("--data", envvar="POLYVOX_DATA", help="Data folder; default ~/.polyvox."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Default: ./polyvox.toml, else polyvox.toml in the data folder."),
]
HostOption = Annotated[
    str | None, typer.Option("--host", help="Address to listen on; default: loopback.")
]
PortOption = Annotated[
    int | None, typer.Option("--port", help="Port to listen on; default 8484, 0: any free one.")
]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="HOST:PORT of a Temporal cluster; default: start one."),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar=DATABASE_VARIABLE,
        help="URL of the database, such as postgresql://USER@HOST/NAME; default: a file in --data.",
    ),
]
BlobsOption = Annotated[
    str | None,
    typer.Option(
        "--blobs",
        envvar=BLOBS_VARIABLE,
        help="URL of the blob store, such as s3://BUCKET/PREFIX; default: beside the database.",
    ),
]
LogLevelOption = Annotated[
    LogLevel | None,
    typer.Option("--log-level", help="What to log at least; default info: a line per request."),
]
LogFormatOption = Annotated[
    LogFormat | None, typer.Option("--log-format", help="How to log; default text.")
]


def up(
    data: DataOption = None,
    config: ConfigOption = None,
    host: HostOption = None,
    port: PortOption = None,
    engine: EngineOption = None,
    database: DatabaseOption = None,
    blobs: BlobsOption = None,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Start engine, worker and gateway; print how to connect; stop at Ctrl-C."""
    environ = dict(os.environ)
    read = partial(
        read_settings,
        config,
        data,
        environ=environ,
        host=host,
        port=port,
        engine_address=engine,
        database=database,
        blobs=blobs,
    )
    run(lambda: serve_clients(checked(read(), log_level, log_format), environ, "replica"))


def checked(reading: Reading, log_level: LogLevel | None, log_format: LogFormat | None) -> Settings:
    """Return the settings, and log as they say. Raises SettingsError with every mistake."""
    if reading.mistakes:
        # With those of the models, which the start would find only after these are corrected.
        raise SettingsError("\n".join(all_mistakes(reading)))
    server = reading.settings.server
    configure_logs(log_level or server.log_level, log_format or server.log_format)
    return reading.settings


def run(program: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``program`` on a uvloop until it ends or a signal cancels it.

    Prints an error of the caller and exits with 1, or with 2 for an unusable data folder.
    """
    configure_logs()
    # A failed attempt is in the ledger with its reason; its traceback adds nothing.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    logging.getLogger("temporalio.worker._workflow_instance").addFilter(_is_unexpected)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(program())
    except asyncio.CancelledError:
        typer.echo("Stopped.")
    except DataFolderUnusable as error:
        give_up(str(error), status=2)
    except CALLING_ERRORS as error:
        give_up(str(error))


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Return whether ``record`` is not about the cancelled call of a client that left.

    If such a call and its run end together, the SDK drops the call's error unread, and the event
    loop would log it.
    """
    dropped = record.exc_info[1] if record.exc_info else None
    return not (isinstance(dropped, ActivityError) and model_error(dropped).kind == "cancelled")


async def serve_clients(
    settings: Settings, environ: Mapping[str, str], role: Literal["replica", "gateway"]
) -> None:
    """Run the whole program, or only its gateway, until a signal ends it."""
    console = Console(highlight=False, soft_wrap=True)
    stop = Stop()
    async with started(settings, environ=environ, report=console.print, role=role) as program:
        stop.is_running = True
        show(program, console)
        spare_collections()
        await stop.wait()
        console.print(
            f"Stopping: running streams get up to {settings.server.drain_s:g} s to finish. "
            "Press Ctrl-C again to stop now."
        )
    console.print("Stopped.")


def spare_collections() -> None:
    """Exclude the objects that live as long as the program from garbage collection.

    A streamed token makes many short-lived objects and no cycles: with the defaults, collections
    that find nothing take a twelfth of the CPU under load.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


class Stop:
    """Waits for SIGINT or SIGTERM. Create it in the task that is the whole program.

    The first signal ends ``wait``; before ``is_running`` is set, and at a second signal, the
    program is cancelled.
    """

    def __init__(self) -> None:
        self.is_running = False
        self._signalled = asyncio.Event()
        program = asyncio.current_task()
        assert program is not None
        self._program = program
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signal)

    async def wait(self) -> None:
        self.is_running = True
        await self._signalled.wait()

    def _signal(self) -> None:
        if self._signalled.is_set() or not self.is_running:
            self._program.cancel()
        self._signalled.set()
