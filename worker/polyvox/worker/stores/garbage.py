"""Collects garbage in the blob store of a deployment: the engine's histories count as references.

See ``polyvox.activities.storage.collecting.collection`` for why it is safe while servers run.
"""

import asyncio
from collections.abc import Iterator

from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from polyvox.activities.storage.backends.bucket_blobs import BucketBlobs
from polyvox.activities.storage.backends.postgresql import one_at_a_time
from polyvox.activities.storage.blobs import BlobStore
from polyvox.activities.storage.collecting.collection import GRACE_S, Collected, collect
from polyvox.activities.storage.collecting.rows import values_in_rows

GARBAGE_LOCK = 0x706F6C79766F7B
"""The number of the advisory lock: one collection at a time."""

_AT_ONCE = 16
"""The histories that are fetched at the same time."""


async def collect_garbage(
    client: Client,
    database: Engine,
    store: BlobStore,
    *,
    grace_s: int = GRACE_S,
    dry_run: bool = False,
) -> Collected:
    """Remove every blob that neither a row nor a run in the engine needs.

    ``client`` returns payloads as they are in the histories. Raises RPCError if the engine cannot
    be asked, and ModelError or SQLAlchemyError if a store cannot be used; then nothing, or less
    than everything, was removed.
    """
    loop = asyncio.get_running_loop()

    def values() -> Iterator[bytes]:
        yield from values_in_rows(database)
        # In groups, so that memory holds some histories, not all.
        ids = asyncio.run_coroutine_threadsafe(run_ids(client), loop).result()
        for at in range(0, len(ids), _AT_ONCE):
            some = histories(client, ids[at : at + _AT_ONCE])
            for history in asyncio.run_coroutine_threadsafe(some, loop).result():
                yield from history

    def work() -> Collected:
        with one_at_a_time(database, GARBAGE_LOCK):
            found = collect(store, values(), grace_s=grace_s, dry_run=dry_run)
            if isinstance(store, BucketBlobs) and not dry_run:
                store.unfinished()
            return found

    return await asyncio.to_thread(work)


async def run_ids(client: Client) -> list[tuple[str, str]]:
    """Return the ids of every workflow execution that the engine has, running ones too."""
    return [(found.id, found.run_id) async for found in client.list_workflows()]


async def histories(client: Client, ids: list[tuple[str, str]]) -> list[list[bytes]]:
    """Return the events of each execution as bytes, which contain their payloads."""
    return list(await asyncio.gather(*(_history(client, *one) for one in ids)))


async def _history(client: Client, workflow_id: str, run_id: str) -> list[bytes]:
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    try:
        return [event.SerializeToString() async for event in handle.fetch_history_events()]
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:  # its retention has just ended
            return []
        raise
