"""``polyvox runs approve``: a person's answer to the question a run waits for."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from temporalio.client import Client

from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    NAMESPACE,
    DataOption,
    engine_address,
    give_up,
    no_engine_at,
)
from polyvox.gateway.cli.input.stores import with_ledger
from polyvox.worker.runs.approval import answer_question, open_questions
from polyvox.workflows.errors import ModelError


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
    except ModelError as error:
        give_up(str(error))
    except RuntimeError:  # the SDK's word for an engine that does not answer
        give_up(no_engine_at(address))
    typer.echo(f"{'Refused' if no else 'Approved'}: {asked}")


def questions(data: Path, run_id: str) -> list[str] | None:
    """Return what a run asks the engine in ``data``; None if that does not say."""
    address = engine_address(data)

    async def asked(address: str) -> list[str] | None:
        client = await Client.connect(address, namespace=NAMESPACE)
        return await open_questions(client, run_id)

    try:
        return asyncio.run(asked(address)) if address else None
    except RuntimeError:  # the SDK's word for an engine that does not answer
        return None


async def _answer(address: str, run_id: str, *, approved: bool, question: str | None) -> str:
    client = await Client.connect(address, namespace=NAMESPACE)
    return await answer_question(client, run_id, approved=approved, question=question)
