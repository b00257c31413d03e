"""A run to take along: its history and everything a replay of it needs, in one JSON document.

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


class _Collecting(BlobStore):
    """Remembers what is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read: dict[str, bytes] = {}

    def get(self, digest: str) -> bytes:
        body = self.read[digest] = super().get(digest)
        return body


_OF_THE_MACHINE = {"identity", "requestId", "stackTrace", "workerVersion"}
"""Members of a history that name processes, hosts and folders, and that no replay looks at."""


def _portable(document: Any) -> Any:
    """Return a history without what it says about the machine it was made on."""
    if isinstance(document, list):
        return [_portable(item) for item in document]
    if not isinstance(document, dict):
        return document
    if "normalName" in document:  # a worker's own queue, named after its process
        document = {**document, "name": document["normalName"]}
    return {
        name: _portable(value) for name, value in document.items() if name not in _OF_THE_MACHINE
    }


async def export_run(client: Client, registry: Registry, blobs: Path, run_id: str) -> ExportedRun:
    """Return a run with all that its replay reads. Raises ModelError if the engine lacks it."""
    history = await fetch_history(client, run_id)
    store = _Collecting(blobs)
    try:
        past = await read_history(history, data_converter(store))
        bodies = Bodies(store)
        bodies.get(past.run_input.conversation.base)
        flow = registry.flow(past.run_input.flow)
        await replay(history, host_services(registry, bodies), data_converter(store))
    finally:
        store.close()
    source = registry.source(past.run_input.digest)
    return ExportedRun(run_id, flow.name, flow.filename, source, history, store.read)


def host_services(registry: Registry, bodies: Bodies) -> HostServices:
    """Return what the host needs to replay runs of this registry."""
    return HostServices(registry.load, bodies.get, lambda *_: None)


def parse_exported(text: str) -> ExportedRun:
    """Read a document. Raises ModelError if it is none."""
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
            "invalid_request", f"This is no file that `polyvox runs export` wrote: {error!r}."
        ) from None


async def replay_exported(run: ExportedRun) -> Verdict:
    """Replay a run from its document alone: no engine, no server, no data folder."""
    with tempfile.TemporaryDirectory(prefix="polyvox-replay-") as folder:
        store = BlobStore(Path(folder) / "blobs.db")
        try:
            store.put(run.blobs)
            flow = load_bundle(run.source, run.filename, run.flow)
            alone = HostServices(lambda _: flow, Bodies(store).get, lambda *_: None)
            return await replay(run.history, alone, data_converter(store))
        finally:
            store.close()
