"""``polyvox runs approve``: answer the question that a run is waiting on."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from temporalio.client import Client

from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    DataOption,
    EngineAddress,
    EngineOption,
    NamespaceOption,
    chosen_engine,
    give_up,
    no_engine_at,
    own_engine,
)
from polyvox.gateway.cli.input.stores import with_ledger
from polyvox.worker.runs.approval import answer_question, open_questions
from polyvox.workflows.errors import ModelError


def approve_run(
    run_id: Annotated[
        str, typer.Argument(metavar="ID", help="A run's id, or the beginning of one.")
    ],
    data: DataOption = DEFAULT_DATA,
    no: Annotated[bool, typer.Option("--no", help="Refuse instead.")] = False,
    question: Annotated[
        str | None, typer.Option(help="Which question, if the run asks several.")
    ] = None,
    engine: EngineOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Answer the question that a run is waiting on."""
    run = with_ledger(data, lambda ledger: ledger.run(run_id))
    if run is None:
        give_up(f"There is no run {run_id!r}. `polyvox runs list` shows them.")
    chosen = chosen_engine(data, engine, namespace)
    try:
        asked = asyncio.run(_answer(chosen, run.run_id, approved=not no, question=question))
    except ModelError as error:
        give_up(str(error))
    except RuntimeError:  # the SDK's word for an engine that does not answer
        give_up(no_engine_at(chosen.address))
    typer.echo(f"{'Refused' if no else 'Approved'}: {asked}")


def questions(data: Path, run_id: str) -> list[str] | None:
    """Return the open questions of a run in the engine of ``data``; None if it does not answer."""
    engine = own_engine(data)

    async def asked(engine: EngineAddress) -> list[str] | None:
        client = await Client.connect(engine.address, namespace=engine.namespace)
        return await open_questions(client, run_id)

    try:
        return asyncio.run(asked(engine)) if engine else None
    except RuntimeError:  # the SDK's word for an engine that does not answer
        return None


async def _answer(
    engine: EngineAddress, run_id: str, *, approved: bool, question: str | None
) -> str:
    client = await Client.connect(engine.address, namespace=engine.namespace)
    return await answer_question(client, run_id, approved=approved, question=question)
