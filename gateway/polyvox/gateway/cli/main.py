"""The ``polyvox`` command."""

import contextlib
import os
import sys

from typer import Typer

from polyvox.activities.storage.private_files import OTHERS
from polyvox.gateway.cli.lazy import add, group

GROUPS = {
    "runs": "Look at runs: list them, show one, answer one, execute one again.",
    "keys": "Keys of the server: list, create, revoke.",
    "flows": "Flows and their versions.",
    "models": "Virtual models and their versions.",
    "engine": "The Temporal engine Polyvox runs on.",
}

COMMANDS = (
    (
        "up",
        "up:up",
        "Start engine, worker and gateway; print how to connect; stop at Ctrl-C.",
    ),
    (
        "demo",
        "demo:demo",
        "Start everything on free ports, ask a simulated panel a question, show the trace.",
    ),
    (
        "register",
        "register:register",
        "Register a flow. A running server serves it from its next request on.",
    ),
    (
        "apply",
        "apply:apply",
        "Apply a whole configuration file's models as one change, and show what changes.",
    ),
    (
        "ui",
        "ui:ui",
        "Print a link that opens Temporal's Web UI, once, within ten minutes.",
    ),
    (
        "simulate",
        "simulate:simulate",
        "Run the simulated provider alone: three protocols, no model, no key.",
    ),
    (
        "doctor",
        "doctor:doctor",
        "Examine Python, engine, ports, data folder, config, keys and providers.",
    ),
    (
        "runs list",
        "runs:list_runs",
        "List runs, newest first.",
    ),
    (
        "runs show",
        "runs:show_run",
        "Show one run: its calls with times, tokens, cost and failures.",
    ),
    (
        "runs approve",
        "approve:approve_run",
        "Answer the question a run waits for.",
    ),
    (
        "runs replay",
        "replays:replay_run",
        "Execute a run's history again with its stored flow version, and say whether it holds.",
    ),
    (
        "runs rerun",
        "replays:rerun_run",
        "Run the same input again; what was asked before is answered from the record, at no cost.",
    ),
    (
        "runs export",
        "replays:export",
        "Write a run with all that its replay needs: history, flow and bodies, what was said too.",
    ),
    (
        "keys list",
        "keys:list_keys",
        "List the keys, without their secrets.",
    ),
    (
        "keys create",
        "keys:create_key",
        "Create a key. Its secret is shown this once; a running server takes it at once.",
    ),
    (
        "keys revoke",
        "keys:revoke_key",
        "Refuse a key from now on; a running server notices within seconds.",
    ),
    (
        "flows list",
        "flows:list_flows",
        "List the flows in use, each with its newest version.",
    ),
    (
        "flows show",
        "flows:show_flow",
        "Show a flow's parameters and source; with --json also their JSON Schema.",
    ),
    (
        "flows diff",
        "flows:diff_flows",
        "Show what differs between two versions: of NAME from the one before, or from OTHER to it.",
    ),
    (
        "flows test",
        "replays:check_flow",
        "Replay the last runs of a flow, each with its own version; exit status 1 if one differs.",
    ),
    (
        "flows retire",
        "flows:retire_flow",
        "Take a version, or a whole flow, out of use for new runs; those that began go on.",
    ),
    (
        "models list",
        "models:list_models",
        "List the virtual models in use.",
    ),
    (
        "models show",
        "models:show_model",
        "Show what a model is: its flow, what is set of its parameters, its limits.",
    ),
    (
        "models set",
        "models:set_model",
        "Make a virtual model, or change what is named of it, as its next version.",
    ),
    (
        "models history",
        "models:show_history",
        "List all versions of a model, newest first: who changed what, when and why.",
    ),
    (
        "models diff",
        "models:diff_model",
        "Show what differs between two versions of a model.",
    ),
    (
        "models rollback",
        "models:roll_back",
        "Make a model again what it was in an earlier version, as its next one.",
    ),
    (
        "models retire",
        "models:retire_model",
        "Take a name out of use. Its history stays, and rolling it back brings it back.",
    ),
    (
        "engine install",
        "engine:install",
        "Find the engine's program, or fetch or build it (minutes, once a machine).",
    ),
)
"""Each command's words, where its function is, and the first line of that one's docstring."""


def commands() -> Typer:
    """Return the whole command line, of which nothing is imported yet."""
    whole = group("One model name in front, many voices behind.")
    groups = {name: group(about) for name, about in GROUPS.items()}
    for words, place, about in COMMANDS:
        first, _, second = words.partition(" ")
        add(groups[first] if second else whole, second or first, place, about)
    for name, inner in groups.items():
        whole.add_typer(inner, name=name)
    return whole


app = commands()


def main() -> None:
    """Run the command line and end the process with its status.

    At once, when all is said and done: the Temporal SDK's threads may still be handing something
    back, which aborts an interpreter that is being taken down in order.
    """
    # What commands write (keys, exported runs, databases) is nobody else's to read.
    os.umask(OTHERS)
    try:
        app()
    except SystemExit as leaving:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # nobody reads it any more
                stream.flush()
        os._exit(leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None))
