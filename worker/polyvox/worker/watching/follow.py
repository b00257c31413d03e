"""Follows the events of a run from any process: those that happened, then new ones, to its end.

The reader tails the history (``GetWorkflowExecutionHistory`` with ``wait_new_event``): this adds
nothing to the history, and works after the run's end and without a worker. A run whose history the
engine does not have is read from the ledger, without its text.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import datetime

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.tables import CallRow, RunRecord
from polyvox.worker.hosting.host import WATCH
from polyvox.worker.runs.handle import RPC_LIMIT
from polyvox.worker.watching.event_reader import EventReader, time_of
from polyvox.worker.watching.run_events import (
    START,
    Happening,
    Place,
    Problem,
    RunBegan,
    RunEnd,
    RunEvent,
    StepBegan,
    StepEnded,
    tokens_of,
)

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_PATIENCE = 10
"""How often the engine is asked for a run that the ledger says is running."""


async def watch_run(
    client: Client, ledger: Ledger, run_id: str, after: Place = START
) -> AsyncIterator[RunEvent]:
    """Yield the events of a run behind ``after``, in order; wait for new ones until its end.

    A run that is going on without a journal gets one: its next calls publish what they emit, and
    so does the present one if the process that hosts the run makes it. While the engine does not
    answer, it is asked again every second.
    """
    for _ in range(_PATIENCE):
        try:
            async for event in _of_history(client, run_id, after):
                yield event
                after = event.place
            return
        except _NoHistory:
            run = await ledger.run(run_id)
            if run is None:
                return
            if run.status != "running":
                for event in _of_record(run):
                    if event.place > after:
                        yield event
                return
        # The run is recorded before the engine gets it.
        await asyncio.sleep(_RETRY_S)


class _NoHistory(Exception):
    """The engine does not have the run."""


async def _of_history(client: Client, run_id: str, after: Place) -> AsyncIterator[RunEvent]:
    handle = client.get_workflow_handle(run_id)
    reader = EventReader(run_id, client.data_converter)
    read = 0
    asked = False
    while True:
        pages = handle.fetch_history_events(wait_new_event=True)
        try:
            while True:
                await pages.fetch_next_page()
                for event in pages.current_page or ():
                    if event.event_id <= read:
                        continue
                    read = event.event_id
                    for index, what in enumerate(await reader.read(event)):
                        place = Place(read, index)
                        if place > after:
                            yield RunEvent(place, time_of(event), what)
                        if isinstance(what, RunEnd):
                            return
                if pages.next_page_token is None:
                    return
                if not (reader.journaled or asked):
                    asked = True
                    with suppress(RPCError):  # the run has just ended
                        await handle.signal(WATCH, rpc_timeout=RPC_LIMIT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise _NoHistory from None
            log.warning("Cannot read the history of run %s: %s", run_id, error)
            await asyncio.sleep(_RETRY_S)


def _of_record(run: RunRecord) -> Iterator[RunEvent]:
    """Yield what the ledger knows of a run that has ended."""
    happened: list[tuple[datetime | None, Happening]] = [
        (run.started_at, RunBegan(run.run_id, run.model, run.flow))
    ]
    for call in run.calls:
        happened += [(call.started_at, _began(call)), (call.ended_at, _ended(call))]
    error = run.error
    end = RunEnd(
        run.status,
        run.duration_ms,
        tokens=tokens_of(run.usage),
        cost_usd=run.cost.whole,
        finish=run.finish,
        error=Problem(error.kind, error.message) if error else None,
    )
    happened.append((run.ended_at, end))
    for index, (at, what) in enumerate(happened):
        yield RunEvent(Place(0, index), at or run.started_at, what)


def _began(call: CallRow) -> StepBegan:
    return StepBegan(call.call_id or str(call.id), call.step, model=f"{call.provider}:{call.model}")


def _ended(call: CallRow) -> StepEnded:
    error = call.error
    return StepEnded(
        call.call_id or str(call.id),
        call.status,
        call.attempt,
        call.duration_ms,
        tokens_of(call.usage),
        call.cost_usd,
        call.finish,
        Problem(error.kind, error.message) if error else None,
    )
