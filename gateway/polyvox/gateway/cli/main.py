"""The ``polyvox`` command."""

import contextlib
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from typer import Typer

from polyvox.activities.storage.private_files import OTHERS
from polyvox.gateway.cli.lazy import add, group

GROUPS = {
    "runs": "Runs: list, show, watch, approve, replay, rerun, export.",
    "keys": "Keys of the server: list, create, revoke.",
    "flows": "Flows and their versions.",
    "models": "Virtual models and their versions.",
    "providers": "Providers and what their servers accept.",
    "engine": "The Temporal engine Polyvox runs on.",
    "storage": "The stores: sizes, garbage, checks, backup and restore.",
}

COMMANDS = (
    ("up", "up:up", "Start engine, worker and gateway; print how to connect; stop at Ctrl-C."),
    (
        "gateway",
        "roles:gateway",
        "Start a gateway without a worker, for a Temporal cluster; stop at Ctrl-C.",
    ),
    (
        "worker",
        "roles:worker",
        "Start a worker without a gateway, for a Temporal cluster; stop at Ctrl-C.",
    ),
    (
        "demo",
        "demo:demo",
        "Start everything on free ports, ask a simulated panel a question, show the trace.",
    ),
    (
        "register",
        "register:register",
        "Register a flow. A running server uses it from the next request on.",
    ),
    (
        "apply",
        "apply:apply",
        "Apply all models of a configuration file as one change, and show what changes.",
    ),
    ("ui", "ui:ui", "Print a link to Temporal's Web UI that works once, within ten minutes."),
    (
        "simulate",
        "demo:simulate",
        "Run only the simulated provider: three protocols, without a model or a key.",
    ),
    (
        "doctor",
        "doctor:doctor",
        "Check Python, engine, ports, data folder, config, keys and providers.",
    ),
    ("runs list", "runs.show:list_runs", "List runs, newest first."),
    (
        "runs show",
        "runs.show:show_run",
        "Show one run: its calls with times, tokens, cost and failures.",
    ),
    (
        "runs watch",
        "runs.watch:watch",
        "Follow a run: its steps, tokens and cost, and its text as it is written.",
    ),
    ("runs approve", "runs.approve:approve_run", "Answer the question that a run is waiting on."),
    (
        "runs replay",
        "runs.replays:replay_run",
        "Replay a run's history with its stored flow version and report any difference.",
    ),
    (
        "runs rerun",
        "runs.replays:rerun_run",
        "Run the same input again; repeated calls are answered from the record, at no cost.",
    ),
    (
        "runs export",
        "runs.replays:export",
        "Export a run with all that a replay needs: history, flow, prompts and answers.",
    ),
    ("keys list", "keys:list_keys", "List the keys, without their secrets."),
    (
        "keys create",
        "keys:create_key",
        "Create a key. Its secret is shown only once; a running server accepts it immediately.",
    ),
    ("keys revoke", "keys:revoke_key", "Revoke a key. A running server refuses it within seconds."),
    ("flows list", "flows:list_flows", "List the flows in use, each with its newest version."),
    (
        "flows show",
        "flows:show_flow",
        "Show a flow's parameters and source; with --json also their JSON Schema.",
    ),
    (
        "flows diff",
        "flows:diff_flows",
        "Show the differences from the previous version to NAME, or from NAME to OTHER.",
    ),
    (
        "flows test",
        "runs.replays:check_flow",
        "Replay the last runs of a flow, each with its own version; exit status 1 if any differs.",
    ),
    (
        "flows retire",
        "flows:retire_flow",
        "Retire a version or a whole flow: new runs cannot use it, running ones continue.",
    ),
    ("models list", "models:list_models", "List the virtual models in use."),
    (
        "models show",
        "models:show_model",
        "Show a model: its flow, the parameters that are set, and its limits.",
    ),
    (
        "models set",
        "models:set_model",
        "Create a virtual model, or store the given changes to one as its next version.",
    ),
    (
        "models history",
        "models:show_history",
        "List all versions of a model, newest first: who changed what, when and why.",
    ),
    ("models diff", "models:diff_model", "Show what differs between two versions of a model."),
    (
        "models rollback",
        "models:roll_back",
        "Restore an earlier version of a model, as its next version.",
    ),
    (
        "models retire",
        "models:retire_model",
        "Retire a model. Its history is kept, and a rollback restores it.",
    ),
    (
        "providers list",
        "providers:list_providers",
        "List the providers of the configuration, each with its server and whether its key is set.",
    ),
    (
        "providers show",
        "providers:show_provider",
        "Show what a provider's server accepts, and where each fact comes from.",
    ),
    (
        "engine install",
        "engine:install",
        "Find the engine's executable, or download or build it (minutes, once per machine).",
    ),
    (
        "storage show",
        "storage:show",
        "Show where the stores are, and how much is in them by kind.",
    ),
    (
        "storage gc",
        "storage:gc",
        "Remove the blobs that nothing refers to; servers may run meanwhile.",
    ),
    (
        "storage check",
        "storage:check",
        "Check that every blob is intact and every reference resolves; exit status 1 if not.",
    ),
    (
        "storage backup",
        "storage:backup",
        "Copy the stores and the keys to a new folder; the server may run meanwhile.",
    ),
    (
        "storage restore",
        "storage:restore_backup",
        "Copy a backup into a data folder that is empty or does not exist.",
    ),
)
"""Each command's words, module and function, and the first line of its docstring."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"polyvox {version('polyvox')}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """A self-hosted gateway that answers each request by running a flow."""


def commands() -> Typer:
    """Return the whole command line without importing any command."""
    whole = group("A self-hosted gateway that answers each request by running a flow.")
    whole.callback()(_root)
    groups = {name: group(about) for name, about in GROUPS.items()}
    for words, place, about in COMMANDS:
        first, _, second = words.partition(" ")
        add(groups[first] if second else whole, second or first, place, about)
    for name, inner in groups.items():
        whole.add_typer(inner, name=name)
    return whole


app = commands()


def main() -> None:
    """Run the command line and exit with its status.

    Exits without an orderly shutdown: threads of the Temporal SDK may still return results, which
    would crash an interpreter that is shutting down.
    """
    # Only the user may read what commands write: keys, exported runs, databases.
    os.umask(OTHERS)
    try:
        app()
    except SystemExit as ending:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # the reader has closed the pipe
                stream.flush()
        os._exit(ending.code if isinstance(ending.code, int) else int(ending.code is not None))
