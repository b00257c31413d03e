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
    RunArgument,
    chosen_engine,
    give_up,
    give_up_on_engine,
    own_engine,
)
from polyvox.gateway.cli.input.stores import find_run
from polyvox.worker.runs.approval import answer_question, open_questions
from polyvox.workflows.errors import ModelError


def approve_run(
    run_id: RunArgument,
    data: DataOption = DEFAULT_DATA,
    no: Annotated[bool, typer.Option("--no", help="Refuse instead.")] = False,
    question: Annotated[
        str | None, typer.Option(help="Which question, if the run asks several.")
    ] = None,
    engine: EngineOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Answer the question that a run is waiting on."""
    run = find_run(data, run_id)
    chosen = chosen_engine(data, engine, namespace)
    try:
        asked = asyncio.run(_answer(chosen, run.run_id, approved=not no, question=question))
    except ModelError as error:
        give_up(str(error))
    except RuntimeError:  # what the SDK raises if the engine does not answer
        give_up_on_engine(chosen.address)
    typer.echo(f"{'Refused' if no else 'Approved'}: {asked}")


def waiting_questions(data: Path, run_id: str) -> list[str] | None:
    """Return the open questions of a run in the engine of ``data``; None if it does not answer."""
    engine = own_engine(data)

    async def asked(engine: EngineAddress) -> list[str] | None:
        client = await Client.connect(engine.address, namespace=engine.namespace)
        return await open_questions(client, run_id)

    try:
        return asyncio.run(asked(engine)) if engine else None
    except RuntimeError:  # what the SDK raises if the engine does not answer
        return None


async def _answer(
    engine: EngineAddress, run_id: str, *, approved: bool, question: str | None
) -> str:
    client = await Client.connect(engine.address, namespace=engine.namespace)
    return await answer_question(client, run_id, approved=approved, question=question)
