"""``polyvox up``: the whole program, until a signal ends it."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from temporalio.exceptions import ActivityError

from polyvox.activities.storage.database import DatabaseError
from polyvox.gateway.cli.input.options import give_up
from polyvox.gateway.http.serving import PortTaken
from polyvox.gateway.own_keys import KEY_VARIABLE, UnusableKey
from polyvox.gateway.program import Program, UnsafeHost, started
from polyvox.worker.engine.data_lock import DataFolderInUse
from polyvox.worker.engine.frontend import EngineError
from polyvox.worker.settings.settings import Settings, SettingsError, load_settings
from polyvox.workflows.boundary.failures import model_error
from polyvox.workflows.flow import FlowError

# Errors of the caller; each message says what to do.
CALLING_ERRORS = (
    DataFolderInUse,
    EngineError,
    FlowError,
    DatabaseError,
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
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="HOST:PORT of a Temporal cluster; default: start one."),
]


def up(
    data: DataOption = None,
    config: ConfigOption = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; default: loopback.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; default 8484, 0: any free one.")
    ] = None,
    engine: EngineOption = None,
) -> None:
    """Start engine, worker and gateway; print how to connect; stop at Ctrl-C."""
    environ = dict(os.environ)

    def settings() -> Settings:
        return load_settings(
            config, data, environ=environ, host=host, port=port, engine_address=engine
        )

    run(lambda: _up(settings(), environ))


def run(program: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``program`` on a uvloop; print an error of the caller as one line and exit with 1."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    # A failed attempt is in the ledger with its reason; its traceback adds nothing.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    logging.getLogger("temporalio.worker._workflow_instance").addFilter(_is_unexpected)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(program())
    except CALLING_ERRORS as error:
        give_up(str(error))


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Return whether ``record`` is not about the cancelled call of a client that left.

    If such a call and its run end together, the SDK drops the call's error unread, and the event
    loop would log it.
    """
    dropped = record.exc_info[1] if record.exc_info else None
    return not (isinstance(dropped, ActivityError) and model_error(dropped).kind == "cancelled")


async def _up(settings: Settings, environ: Mapping[str, str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    stop = stop_signal(console)
    async with started(settings, environ=environ, report=console.print) as program:
        show(program, console)
        _spare_collections()
        await stop.wait()
        console.print(
            f"Stopping: running streams get up to {settings.server.drain_s:g} s to finish. "
            "Press Ctrl-C again to stop now."
        )
    console.print("Stopped.")


def _spare_collections() -> None:
    """Exclude the objects that live as long as the program from garbage collection.

    A streamed token makes many short-lived objects and no cycles: with the defaults, collections
    that find nothing take a twelfth of the CPU under load.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def stop_signal(console: Console) -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set. A second signal cancels the whole program."""
    stop = asyncio.Event()
    program = asyncio.current_task()
    assert program is not None

    def signalled() -> None:
        if stop.is_set():
            program.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled)
    return stop


def show(program: Program, console: Console) -> None:
    """Print base URL, key, models, links, and lines to paste for each client."""
    base, runtime = program.base_url, program.runtime
    key = program.keys.user or "YOUR_KEY"
    bindings = runtime.registry.models()
    shown = next((b for b in bindings if "fusion" in b.model), bindings[0] if bindings else None)
    model = shown.model if shown else "MODEL"
    # Codex reads a model's size from its own configuration.
    window = shown.parsed_card.context_window if shown else None
    size = f"-c model_context_window={window} " if window else ""
    out = console.print
    out("\n[bold]Polyvox is ready.[/bold]")
    out(f"  Base URL   {base}   (OpenAI clients: {base}/v1)")
    known = program.keys.user is not None
    hint = "" if known else f"   (made earlier; set {KEY_VARIABLE} or `polyvox keys create`)"
    out(f"  Key        {key}{hint}")
    out(f"  Admin key  {program.keys.admin}")
    for number, binding in enumerate(bindings):
        about = f"   {binding.description}" if binding.description else ""
        out(f"  {'Models ' if number == 0 else '       '}    {binding.model}{about}")
    providers = ", ".join(sorted(runtime.providers))
    out(f"  Providers  {providers}   (any of their models: provider:model)")
    if program.ui_address:
        link = program.ui_address.enter_link(runtime.ui_sessions.issue_ticket())
        out(f"  Web UI     {link}   (opens once, within 10 minutes; later: polyvox ui)")
    out(f"  Data       {runtime.settings.data}")
    for sentence in program.keys.news:
        out(sentence, style="yellow", markup=False)
    out("\n[bold]curl[/bold]")
    out(
        f"curl {base}/v1/chat/completions -H 'Authorization: Bearer {key}' "
        "-H 'Content-Type: application/json' "
        f'-d \'{{"model": "{model}", "stream": true, "messages": '
        '[{"role": "user", "content": "Should I cache or recompute?"}]}\'',
        markup=False,
    )
    out("\n[bold]Claude Code[/bold]")
    # The small model writes titles and the like, which Polyvox answers with one model.
    out(
        f"ANTHROPIC_BASE_URL={base} ANTHROPIC_AUTH_TOKEN={key} "
        f"ANTHROPIC_DEFAULT_HAIKU_MODEL={model} claude --model {model}"
    )
    out("\n[bold]Codex[/bold]")
    out(
        f"POLYVOX_KEY={key} codex -c model_provider=polyvox "
        "-c model_providers.polyvox.name=Polyvox "
        f"-c model_providers.polyvox.base_url={base}/v1 "
        "-c model_providers.polyvox.env_key=POLYVOX_KEY "
        f"-c model_providers.polyvox.wire_api=responses {size}-m {model}\n",
        markup=False,
    )
