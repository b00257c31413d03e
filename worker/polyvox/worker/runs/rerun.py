"""Runs a run's input again, with changes; what it asked before is answered from its record.

What stays the same: the client's conversation, the parameters but for those set, the limits, who
asked, and chance. What does not: the time a flow reads with ``run.now()``, the server-side tools it
runs and the memories it recalls, which are those of today. A call is served from the record if its
model and its conversation are exactly those of a call that was answered then; a flow that tells a
model the time, or another wording, asks anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from temporalio.client import Client

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.model_call.recorded_replies import write_recorded
from polyvox.activities.registry.parameters import mistakes
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
    """A rerun under way."""

    run_id: str
    run_input: RunInput
    handle: RunHandle

    async def reply(self) -> Reply:
        """Wait for its end. Raises ModelError as the client would have been told."""
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
    """Start a run with the input of ``run_id``; another ``flow`` version, or ``params`` to set.

    A server must run on the same engine. Raises ModelError if the engine has no history of the run
    any more, FlowError for an unknown flow or parameters it refuses, naming each.
    """
    past = await read_history(await fetch_history(client, run_id), data_converter(store))
    version = registry.flow(flow or past.run_input.flow)
    changed = {**past.run_input.params, **(params or {})}
    if found := mistakes(registry.load(version.digest).params, changed):
        raise FlowError("\n".join(found))
    run_input = replace(
        past.run_input,
        flow=version.name,
        digest=version.digest,
        params=changed,
        rerun_of=run_id,
        seed=past.run_input.seed or run_id,
        recorded=await store.on_writer(lambda: write_recorded(store, past.answered())),
        traceparent="",
    )
    again = new_run_id()
    handle = await start_run(client, ledger, run_input, run_id=again)
    return Rerun(again, run_input, RunHandle(handle))
