"""``polyvox runs watch``: follow a run from its first step to its end."""

import asyncio
import sys
from contextlib import AsyncExitStack

import typer
from temporalio.client import Client

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.storage.backends.opened_blobs import open_blobs
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.database import DatabaseError
from polyvox.gateway.api.event_stream import event_json
from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    DataOption,
    EngineAddress,
    EngineOption,
    JsonOption,
    NamespaceOption,
    RunArgument,
    chosen_engine,
    console,
    give_up,
    give_up_on_engine,
)
from polyvox.gateway.cli.input.store_options import stores_of
from polyvox.gateway.cli.input.stores import find_run
from polyvox.gateway.cli.output.watch_lines import WatchPrinter
from polyvox.worker.hosting.payloads import data_converter
from polyvox.worker.watching.follow import watch_run
from polyvox.workflows.errors import ModelError

_INTERRUPTED = 130


def watch(
    run_id: RunArgument,
    data: DataOption = DEFAULT_DATA,
    engine: EngineOption = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a run: its steps, tokens and cost, and its text as it is written.

    Ctrl-C stops only the watching. With --json each line is an event.
    """
    run = find_run(data, run_id)
    chosen = chosen_engine(data, engine, namespace)
    try:
        asyncio.run(_watch(stores_of(data), chosen, run.run_id, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except (DatabaseError, ModelError) as error:
        give_up(str(error))
    except RuntimeError:  # what the SDK raises if the engine does not answer
        give_up_on_engine(chosen.address)


async def _watch(urls: StoreUrls, engine: EngineAddress, run_id: str, *, as_json: bool) -> None:
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(Ledger.open(urls.database))
        store = open_blobs(urls)
        stack.callback(store.close)
        client = await Client.connect(
            engine.address, namespace=engine.namespace, data_converter=data_converter(store)
        )
        printer = WatchPrinter(console())
        async for event in watch_run(client, ledger, run_id):
            if as_json:
                typer.echo(event_json(event))
            else:
                printer.print(event)
            sys.stdout.flush()
