"""``polyvox runs``: which runs there were, what happened in one, and what one waits for."""

import asyncio
from typing import Annotated

import typer
from temporalio.client import Client

from polyvox.activities.ledger import LIST_LIMIT
from polyvox.activities.records import RunStatus
from polyvox.gateway.cli import replays
from polyvox.gateway.cli.data_folder import (
    DEFAULT_DATA,
    NAMESPACE,
    DataOption,
    JsonOption,
    console,
    engine_address,
    engine_link,
    give_up,
    print_json,
    with_ledger,
)
from polyvox.gateway.cli.run_tree import render_runs, render_tree
from polyvox.gateway.run_document import render_run, render_run_with_calls
from polyvox.worker.approval import answer_question
from polyvox.workflows.errors import ModelError

app = typer.Typer(no_args_is_help=True, help="Look at runs: list them, show one, answer one.")

app.command("replay")(replays.replay_run)
app.command("rerun")(replays.rerun_run)
app.command("export")(replays.export)


@app.command("list")
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
        print_json([render_run(run, engine_link(data, run.run_id)) for run in runs])
    else:
        console().print(render_runs(runs))


@app.command("show")
def show_run(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run's id, or how it begins.")],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Show one run: its calls with times, tokens and failures."""
    run = with_ledger(data, lambda ledger: ledger.run(run_id))
    if run is None:
        give_up(f"There is no run {run_id!r}. `polyvox runs list` shows them.")
    link = engine_link(data, run.run_id)
    if as_json:
        print_json(render_run_with_calls(run, link))
    else:
        console().print(render_tree(run, link))


@app.command("approve")
def approve_run(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run's id, or how it begins.")],
    data: DataOption = DEFAULT_DATA,
    no: Annotated[bool, typer.Option("--no", help="Refuse instead.")] = False,
    question: Annotated[
        str | None, typer.Option(help="Which question, if the run asks several.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(envvar="TEMPORAL_ADDRESS", help="HOST:PORT of the engine, if not our own."),
    ] = None,
) -> None:
    """Answer the question a run waits for."""
    run = with_ledger(data, lambda ledger: ledger.run(run_id))
    if run is None:
        give_up(f"There is no run {run_id!r}. `polyvox runs list` shows them.")
    address = engine or engine_address(data)
    if address is None:
        give_up("No engine runs on this data folder. Start the server with `polyvox up`.")
    try:
        asked = asyncio.run(_answer(address, run.run_id, approved=not no, question=question))
    except (ModelError, RuntimeError) as error:
        give_up(str(error))
    typer.echo(f"{'Refused' if no else 'Approved'}: {asked}")


async def _answer(address: str, run_id: str, *, approved: bool, question: str | None) -> str:
    client = await Client.connect(address, namespace=NAMESPACE)
    return await answer_question(client, run_id, approved=approved, question=question)
