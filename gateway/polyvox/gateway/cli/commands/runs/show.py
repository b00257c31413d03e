"""``polyvox runs list|show``: the runs of a server, and the details of one."""

from pathlib import Path
from typing import Annotated

import typer

from polyvox.activities.ledger.entries import RunStatus
from polyvox.activities.ledger.ledger import LIST_LIMIT
from polyvox.activities.ledger.tables import RunRecord
from polyvox.gateway.api.run_document import render_run, render_whole_run
from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    RunArgument,
    console,
    engine_link,
    print_json,
)
from polyvox.gateway.cli.input.stores import find_run, with_ledger
from polyvox.gateway.cli.output.run_tree import render_runs, render_tree


def list_runs(
    data: DataOption = DEFAULT_DATA,
    limit: Annotated[int, typer.Option(min=1, max=LIST_LIMIT, help="How many at most.")] = 20,
    status: Annotated[RunStatus | None, typer.Option(help="Only runs in this state.")] = None,
    model: Annotated[str | None, typer.Option(help="Only runs of this model name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    runs = with_ledger(data, lambda ledger: ledger.runs(limit=limit, status=status, model=model))
    if as_json:
        print_json([render_run(run, _link(data, run)) for run in runs])
    else:
        out = console()
        out.print(render_runs(runs, out.width))


def show_run(
    run_id: RunArgument,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Show one run: its calls with times, tokens, cost and failures."""
    run = find_run(data, run_id)
    link = _link(data, run)
    questions = _questions(data, run)
    if as_json:
        print_json(render_whole_run(run, link, questions))
        return
    console().print(render_tree(run, link))
    for question in questions or ():
        typer.echo(f"It waits for an answer to {question!r}: polyvox runs approve {run.run_id}")


def _link(data: Path, run: RunRecord) -> str | None:
    return engine_link(data, run.run_id) if run.has_workflow else None


def _questions(data: Path, run: RunRecord) -> list[str] | None:
    """Return the open questions of a running run; None if its engine does not answer."""
    if run.status != "running":
        return []
    # The Temporal SDK takes half a second to import.
    from polyvox.gateway.cli.commands.runs.approve import waiting_questions  # noqa: PLC0415

    return waiting_questions(data, run.run_id)
