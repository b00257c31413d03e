"""Exports a run as one JSON document with its history and everything that a replay needs.

``{"polyvox_run": 1, "run_id", "flow", "filename", "source", "history", "blobs"}``: ``source`` is
the flow's stored text, ``history`` as Temporal exports it, ``blobs`` the bodies by address, base64.
"""

import base64
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHistory

from polyvox.activities.registry.registry import Registry
from polyvox.activities.storage.backends.read_blobs import ReadBlobs
from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.blobs import BlobStore
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.worker.hosting.host import HostServices
from polyvox.worker.hosting.payloads import data_converter
from polyvox.worker.runs.history import fetch_history, read_history
from polyvox.worker.runs.replay import Verdict, replay
from polyvox.workflows.errors import ModelError
from polyvox.workflows.source.bundle import load_bundle


@dataclass(frozen=True, slots=True)
class ExportedRun:
    run_id: str
    flow: str
    filename: str
    source: str
    history: WorkflowHistory
    blobs: dict[str, bytes]

    def document(self) -> dict[str, Any]:
        return {
            "polyvox_run": 1,
            "run_id": self.run_id,
            "flow": self.flow,
            "filename": self.filename,
            "source": self.source,
            "history": _portable(json.loads(self.history.to_json())),
            "blobs": {
                digest: base64.b64encode(body).decode() for digest, body in self.blobs.items()
            },
        }


_MACHINE_MEMBERS = {"identity", "requestId", "stackTrace", "workerVersion"}
"""Members of a history that name processes, hosts and folders; replays do not use them."""


def _portable(document: Any) -> Any:
    """Return a history without information about the machine on which it was made."""
    if isinstance(document, list):
        return [_portable(item) for item in document]
    if not isinstance(document, dict):
        return document
    if "normalName" in document:  # a worker's queue, named after its process
        document = {**document, "name": document["normalName"]}
    return {
        name: _portable(value) for name, value in document.items() if name not in _MACHINE_MEMBERS
    }


async def export_run(
    client: Client, registry: Registry, blobs: BlobStore, run_id: str
) -> ExportedRun:
    """Return a run with all blobs that its replay reads. Raises ModelError without a history."""
    history = await fetch_history(client, run_id)
    store = ReadBlobs(blobs)
    past = await read_history(history, data_converter(store))
    bodies = Bodies(store)
    bodies.get(past.run_input.conversation.base)
    flow = registry.flow(past.run_input.flow)
    await replay(history, host_services(registry, bodies), data_converter(store))
    source = registry.source(past.run_input.digest)
    return ExportedRun(run_id, flow.name, flow.filename, source, history, store.read)


def host_services(registry: Registry, bodies: Bodies) -> HostServices:
    """Return the services for replaying runs of this registry."""
    return HostServices(registry.load, bodies.get, lambda *_: None)


def parse_exported(text: str) -> ExportedRun:
    """Parse a document. Raises ModelError if it is not an exported run."""
    try:
        document = json.loads(text)
        assert document["polyvox_run"] == 1
        return ExportedRun(
            document["run_id"],
            document["flow"],
            document["filename"],
            document["source"],
            WorkflowHistory.from_json(document["run_id"], document["history"]),
            {digest: base64.b64decode(body) for digest, body in document["blobs"].items()},
        )
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise ModelError(
            "invalid_request", f"This file was not written by `polyvox runs export`: {error!r}."
        ) from None


async def replay_exported(run: ExportedRun) -> Verdict:
    """Replay an exported run without an engine, a server or a data folder."""
    with tempfile.TemporaryDirectory(prefix="polyvox-replay-") as folder:
        store = SqliteBlobs(Path(folder) / "blobs.db")
        try:
            store.put(run.blobs)
            flow = load_bundle(run.source, run.filename, run.flow)
            alone = HostServices(lambda _: flow, Bodies(store).get, lambda *_: None)
            return await replay(run.history, alone, data_converter(store))
        finally:
            store.close()
