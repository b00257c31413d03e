"""Runs the input of a run again, with changes; equal model calls get the recorded replies.

The same are the client's conversation, the parameters except those that are set, the limits, the
key and the random seed. The time of ``run.now()``, server-side tools and the flow's memory are
current. A call gets a recorded reply if its model and conversation equal those of a call that got a
reply; a flow that includes the time in its prompts calls the models again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from temporalio.client import Client

from polyvox.activities.ledger.entries import RunStarted
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.model_call.recorded_replies import write_recorded
from polyvox.activities.registry.parameters import mistakes, own_params
from polyvox.activities.registry.registry import Registry
from polyvox.activities.storage.blobs import BlobStore
from polyvox.worker.hosting.payloads import data_converter
from polyvox.worker.runs.handle import RunHandle
from polyvox.worker.runs.history import fetch_history, read_history
from polyvox.worker.runs.start import new_run_id, start_run
from polyvox.workflows.boundary.calls import RunInput
from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import FlowError
from polyvox.workflows.reply import Reply


@dataclass(frozen=True, slots=True)
class Rerun:
    """A rerun that has been started."""

    run_id: str
    run_input: RunInput
    handle: RunHandle

    async def reply(self) -> Reply:
        """Wait for the end and return the reply. Raises the ModelError a client would get."""
        return (await self.handle.outcome()).result()


async def rerun(
    client: Client,
    ledger: Ledger,
    registry: Registry,
    store: BlobStore,
    run_id: str,
    *,
    flow: str | None = None,
    params: Mapping[str, Json] | None = None,
) -> Rerun:
    """Start a run with the input of ``run_id``, optionally with another ``flow`` or ``params``.

    A server must use the same engine. Raises ModelError if the engine no longer has the run's
    history, FlowError for an unknown flow or invalid parameters, naming each.
    """
    past = await read_history(await fetch_history(client, run_id), data_converter(store))
    version = registry.flow(flow or past.run_input.flow)
    changed = {**past.run_input.params, **(params or {})}
    kind = registry.load(version.digest).params
    if found := mistakes(kind, changed):
        raise FlowError("\n".join(found))
    run_input = replace(
        past.run_input,
        flow=version.name,
        digest=version.digest,
        params=own_params(kind, changed),
        rerun_of=run_id,
        seed=past.run_input.seed or run_id,
        recorded=await store.on_writer(lambda: write_recorded(store, past.answered())),
        traceparent="",
        listener="",
        emitted_first=True,
    )
    again = new_run_id()
    await ledger.store(
        RunStarted(
            run_id=again,
            model=run_input.model,
            flow=run_input.flow,
            protocol=run_input.protocol,
            stream=False,
            key_id=run_input.key_id or None,
            started_at=datetime.now(UTC),
            rerun_of=run_id,
        )
    )
    handle = await start_run(client, ledger, run_input, run_id=again)
    return Rerun(again, run_input, RunHandle(handle))
