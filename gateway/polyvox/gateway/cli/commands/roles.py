"""``polyvox gateway`` and ``polyvox worker``: the halves of ``polyvox up``, as many as needed.

They share a Temporal cluster, a database and a deployment key.
"""

import os
from collections.abc import Mapping
from functools import partial

from rich.console import Console

from polyvox.gateway.cli.commands.up import (
    BlobsOption,
    ConfigOption,
    DatabaseOption,
    DataOption,
    EngineOption,
    HostOption,
    LogFormatOption,
    LogLevelOption,
    PortOption,
    Stop,
    checked,
    run,
    serve_clients,
    spare_collections,
)
from polyvox.gateway.program import worker_started
from polyvox.worker.settings.settings import Settings, read_settings


def gateway(
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
    """Start a gateway without a worker, for a Temporal cluster; stop at Ctrl-C."""
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
    run(lambda: serve_clients(checked(read(), log_level, log_format), environ, "gateway"))


def worker(
    data: DataOption = None,
    config: ConfigOption = None,
    engine: EngineOption = None,
    database: DatabaseOption = None,
    blobs: BlobsOption = None,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Start a worker without a gateway, for a Temporal cluster; stop at Ctrl-C."""
    environ = dict(os.environ)
    read = partial(
        read_settings,
        config,
        data,
        environ=environ,
        engine_address=engine,
        database=database,
        blobs=blobs,
    )
    run(lambda: _work(checked(read(), log_level, log_format), environ))


async def _work(settings: Settings, environ: Mapping[str, str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    stop = Stop()
    async with worker_started(settings, environ=environ, report=console.print) as runtime:
        stop.is_running = True
        console.print(
            f"Worker {runtime.process_id} is ready. Probes: {runtime.lane_address}/readyz"
        )
        spare_collections()
        await stop.wait()
        console.print(
            f"Stopping: running calls get up to {settings.server.drain_s:g} s to finish. "
            "Press Ctrl-C again to stop now."
        )
    console.print("Stopped.")
