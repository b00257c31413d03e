"""``polyvox runs replay|export|rerun`` and ``polyvox flows test``: execute runs again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import orjson
import typer
from rich.text import Text
from temporalio.client import Client

from polyvox.activities.ledger.ledger import LIST_LIMIT, Ledger
from polyvox.activities.ledger.tables import RunRecord
from polyvox.activities.registry.registry import Registry
from polyvox.activities.storage.backends.opened_blobs import open_blobs
from polyvox.activities.storage.blobs import BlobStore
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.database import (
    DatabaseError,
    open_database,
)
from polyvox.activities.storage.private_files import write_private
from polyvox.gateway.api.run_document import render_whole_run
from polyvox.gateway.cli.input.key_value import ParamFileOption, assigned, read_params
from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    DataOption,
    EngineOption,
    FlowArgument,
    JsonOption,
    NamespaceOption,
    RunArgument,
    chosen_engine,
    console,
    engine_link,
    give_up,
    give_up_on_engine,
    print_json,
)
from polyvox.gateway.cli.input.store_options import stores_of
from polyvox.gateway.cli.input.stores import known_run, require_ledger, with_ledger
from polyvox.gateway.cli.output.run_tree import render_tree
from polyvox.worker.hosting.payloads import data_converter
from polyvox.worker.runs.export import export_run, host_services, parse_exported, replay_exported
from polyvox.worker.runs.history import fetch_history
from polyvox.worker.runs.replay import Verdict, replay
from polyvox.worker.runs.rerun import rerun
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import FlowError

T = TypeVar("T")

_POLL_S = 0.05
_POLLS = 60


@dataclass(frozen=True, slots=True)
class _Open:
    """The data folder and its engine, opened while the server may use them too."""

    ledger: Ledger
    registry: Registry
    store: BlobStore
    client: Client

    async def run_id(self, beginning: str) -> str:
        return (await known_run(self.ledger, beginning)).run_id

    async def verdict(self, run_id: str) -> Verdict:
        history = await fetch_history(self.client, run_id)
        own = host_services(self.registry, Bodies(self.store))
        return await replay(history, own, data_converter(self.store))


def replay_run(
    run: Annotated[str, typer.Argument(metavar="ID", help="A run, or a file from `runs export`.")],
    data: DataOption = DEFAULT_DATA,
    engine: EngineOption = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay a run's history with its stored flow version and report any difference."""
    if Path(run).is_file():
        try:
            verdict = asyncio.run(replay_exported(parse_exported(Path(run).read_text("utf-8"))))
        except (OSError, ModelError, FlowError) as error:
            give_up(str(error))
    else:

        async def replayed(opened: _Open) -> Verdict:
            return await opened.verdict(await opened.run_id(run))

        verdict = _with_engine(data, engine, namespace, replayed)
    _print_verdicts([verdict], [], as_json=as_json)


def check_flow(
    name: FlowArgument,
    data: DataOption = DEFAULT_DATA,
    last: Annotated[int, typer.Option(min=1, max=LIST_LIMIT, help="How many runs.")] = 20,
    engine: EngineOption = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay the last runs of a flow, each with its own version; exit status 1 if any differs."""

    async def tested(opened: _Open) -> tuple[list[Verdict], list[str]]:
        opened.registry.flow(name)
        verdicts: list[Verdict] = []
        missing: list[str] = []
        for run in await opened.ledger.runs(limit=last, flow=name):
            try:
                verdicts.append(await opened.verdict(run.run_id))
            except ModelError as error:
                if error.kind != "not_found":
                    raise
                missing.append(run.run_id)
        return verdicts, missing

    verdicts, missing = _with_engine(data, engine, namespace, tested)
    _print_verdicts(verdicts, missing, as_json=as_json)


def export(
    run: RunArgument,
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
    data: DataOption = DEFAULT_DATA,
    engine: EngineOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Export a run with all that a replay needs: history, flow, prompts and answers."""

    async def exported(opened: _Open) -> bytes:
        run_id = await opened.run_id(run)
        found = await export_run(opened.client, opened.registry, opened.store, run_id)
        return orjson.dumps(found.document(), option=orjson.OPT_INDENT_2)

    document = _with_engine(data, engine, namespace, exported)
    try:
        write_private(file, document + b"\n")
    except OSError as error:
        give_up(f"Cannot write {str(file)!r}: {error.strerror}.")
    typer.echo(f"{file}: {len(document):,} bytes. It contains the run's prompts and answers.")


def rerun_run(
    run: RunArgument,
    data: DataOption = DEFAULT_DATA,
    flow: Annotated[
        str | None, typer.Option(help="Another flow or version, such as careful@2.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of a parameter; may be repeated.")
    ] = None,
    set_file: ParamFileOption = None,
    engine: EngineOption = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the same input again; repeated calls are answered from the record, at no cost."""

    async def again(opened: _Open) -> tuple[str, str]:
        params = {**assigned(change, "--set"), **read_params(None, set_file)}
        started = await rerun(
            opened.client,
            opened.ledger,
            opened.registry,
            opened.store,
            await opened.run_id(run),
            flow=flow,
            params=params,
        )
        try:
            return started.run_id, (await started.reply()).text
        except ModelError as error:
            return started.run_id, f"Failed: {error.message}"

    run_id, text = _with_engine(data, engine, namespace, again)
    record = with_ledger(data, lambda ledger: _recorded(ledger, run_id))
    if record is None:
        give_up(f"Run {run_id} is not in the ledger.")
    link = engine_link(data, run_id)
    if as_json:
        print_json({**render_whole_run(record, link, []).model_dump(), "text": text})
        return
    console().print(Text(text))
    console().print(render_tree(record, link))


async def _recorded(ledger: Ledger, run_id: str) -> RunRecord | None:
    """Return the run with its end, which its server records a moment later."""
    for _ in range(_POLLS):
        record = await ledger.run(run_id)
        if record is None or record.status != "running":
            return record
        await asyncio.sleep(_POLL_S)
    return await ledger.run(run_id)


def _with_engine(
    data: Path,
    engine: str | None,
    namespace: str | None,
    use: Callable[[_Open], Awaitable[T]],
) -> T:
    """Open the folder and connect to its engine; print a known error and exit with 1."""
    data = data.expanduser()
    chosen = chosen_engine(data, engine, namespace)
    urls = stores_of(data)
    require_ledger(urls)

    async def opened() -> T:
        async with AsyncExitStack() as stack:
            ledger = await stack.enter_async_context(Ledger.open(urls.database))
            database = open_database(urls.database)
            stack.callback(database.dispose)
            store = open_blobs(urls)
            stack.callback(store.close)
            client = await Client.connect(
                chosen.address,
                namespace=chosen.namespace,
                data_converter=data_converter(store),
            )
            return await use(_Open(ledger, Registry(database), store, client))

    try:
        return asyncio.run(opened())
    except (DatabaseError, FlowError, ModelError) as error:
        give_up(str(error))
    except RuntimeError:  # what the SDK raises if the engine does not answer
        give_up_on_engine(chosen.address)


def _print_verdicts(verdicts: list[Verdict], missing: list[str], *, as_json: bool) -> None:
    broken = [verdict for verdict in verdicts if not verdict.holds]
    if as_json:
        print_json({"verdicts": verdicts, "missing": missing})
    else:
        for verdict in verdicts:
            line = f"{verdict.run_id}  {verdict.flow}  "
            if verdict.holds:
                line += f"matches: {verdict.work} recorded activities and the result are the same"
            else:
                line += f"differs: {verdict.difference}"
            console().print(Text(line, style="" if verdict.holds else "red"))
        for run_id in missing:
            console().print(Text(f"{run_id}  the engine no longer has its history"))
        if len(verdicts) != 1 or missing:
            console().print(f"{len(verdicts) - len(broken)} of {len(verdicts)} match.")
    if broken:
        raise typer.Exit(1)
