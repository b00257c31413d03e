"""What a process does of the program's work, and how it finds the other processes.

A ``replica`` is the whole program, a ``gateway`` has no Temporal Worker, a ``worker`` no front
door. Processes with the deployment key and an existing cluster share the work: each has a port for
the others, and is in the register of processes. A process without them is alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from temporalio.worker import Worker

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.processes import Processes, ProcessRole
from polyvox.activities.live.handshake import PURPOSE
from polyvox.activities.live.receiving import Receiver
from polyvox.activities.live.relay import Relay
from polyvox.activities.live.routes import Lookup
from polyvox.activities.live.sending import Lane
from polyvox.activities.storage.deployment_key import DeploymentKey
from polyvox.worker.engine.engine import Engine
from polyvox.worker.hosting.lane_port import LanePort
from polyvox.worker.readiness import OK, Stores
from polyvox.worker.settings.settings import Settings, SettingsError
from polyvox.workflows.conversation import Json


def shared_key(
    settings: Settings, environ: Mapping[str, str], role: ProcessRole
) -> DeploymentKey | None:
    """Return the deployment key of a process that shares its work, None for one that is alone.

    A replica whose stores are in its own data folder is alone. Raises DeploymentKeyError, or
    SettingsError if a gateway or worker has no cluster or stores to share.
    """
    own = _own_stores(settings)
    if role == "replica":
        is_alone = own or settings.engine.address is None
        return None if is_alone else DeploymentKey.of(environ)
    if settings.engine.address is None:
        raise SettingsError(
            f"`polyvox {role}` needs the Temporal cluster of its deployment: --engine HOST:PORT, "
            "TEMPORAL_ADDRESS or engine.address. Without one, run the whole program: `polyvox up`."
        )
    if own:
        name, file = next(iter(own.items()))
        raise SettingsError(
            f"`polyvox {role}` needs the {name} of its deployment: --{name} URL, "
            f"POLYVOX_{name.upper()} or storage.{name}. {str(file)!r} is in its own data "
            "folder, which no other process uses."
        )
    return DeploymentKey.required(environ, f"`polyvox {role}`")


def _own_stores(settings: Settings) -> dict[str, Path]:
    """Return by name the store files in the process's own data folder."""
    files = {"database": settings.stores.database_file, "blobs": settings.stores.blobs_file}
    return {
        name: file
        for name, file in files.items()
        if file is not None and file.is_relative_to(settings.data)
    }


def connect(
    relay: Relay, ledger: Ledger, processes: Processes, key: DeploymentKey, port: LanePort
) -> tuple[Lane, Receiver]:
    """Connect the relay of this process with those of the others."""
    secret = key.derived(PURPOSE)
    own = processes.process_id
    lookup = Lookup(processes.address_of, ledger.listener_of)
    lane = Lane(relay, lookup, own=own, key=secret, tls=port.tls)
    receiver = Receiver(relay, own=own, key=secret)
    relay.connect(lane, receiver)
    return lane, receiver


@dataclass
class Readiness:
    """Whether this process takes work: ``worker`` polls, the engine answers, stores work."""

    engine: Engine
    stores: Stores
    worker: Worker | None
    is_stopping: bool = False

    async def __call__(self) -> tuple[bool, dict[str, Json]]:
        stores = await self.stores.states()
        answers = await self.engine.answers()
        polls = self.worker is None or self.worker.is_running
        ready = answers and polls and not self.is_stopping and {*stores.values()} == {OK}
        status = "stopping" if self.is_stopping else "ready" if ready else "not ready"
        engine = self.engine.state if answers else "unreachable"
        return ready, {"status": status, "engine": engine, "stores": dict(stores)}

    def stop(self) -> None:
        """Take no more work; what is running goes on."""
        self.is_stopping = True
