"""The topology of ``docker-compose.yaml`` as bare processes on loopback addresses.

    async with cluster() as running:
        await running.member("gateway-1").kill()

Everything is in one folder of the system's temporary folder, which is deleted at the end. If the
program that starts the cluster is killed, Linux kills the members, and the next start deletes the
folder.
"""

import asyncio
import contextlib
import csv
import dataclasses
import fcntl
import io
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from polyvox.worker.engine.data_lock import try_lock
from tests.cluster.launching import prepare
from tests.cluster.member import HEALTHY_S, POLL_S, ClusterError, Member
from tests.cluster.programs import Programs, Report, find_programs
from tests.cluster.topology import OPEN_HOST, Place, Service, located, read_services

CLIENT_PORT = 8484
LANE_PORT = 8485
TEMPORAL_PORT = 7233
POSTGRES_PORT = 5432
UI_PORT = 8080
BALANCER_STATE_PORT = 8404

LANE = f'\n[cluster]\nhost = "{OPEN_HOST}"\nport = {LANE_PORT}\n'
"""What ``deploy/settings/polyvox.toml`` says of the live lane."""

Shape = Literal["split", "replicas"]
"""``split``: gateways and workers, as the Compose file has them. ``replicas``: each gateway has its
own worker (``polyvox up``), and there are no others."""

_NOT_HERE = ("otel/opentelemetry-collector",)
"""Images without a program; variables that lead to them are omitted."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster. ``variables`` are the values of the Compose file's ``${...}``."""

    members: Mapping[str, Member]
    variables: Mapping[str, str]
    folder: Path

    def member(self, name: str) -> Member:
        """Return a member by the name of its service: ``gateway-1``, ``temporal-2``, ``postgres``,
        ``balancer``."""
        return self.members[name]

    @property
    def base_url(self) -> str:
        """The address of clients: the load balancer."""
        return self.member("balancer").url(CLIENT_PORT)

    @property
    def gateways(self) -> list[Member]:
        """The gateways, or the replicas, in the order of their names."""
        return self._named("gateway-")

    @property
    def workers(self) -> list[Member]:
        """The workers, in the order of their names; none with replicas."""
        return self._named("worker-")

    @property
    def gateway_urls(self) -> list[str]:
        """The addresses of the gateways themselves."""
        return [member.url(CLIENT_PORT) for member in self.gateways]

    @property
    def worker_urls(self) -> list[str]:
        return [member.url(LANE_PORT) for member in self.workers]

    @property
    def key(self) -> str:
        return self.variables["POLYVOX_KEY"]

    @property
    def admin_key(self) -> str:
        return self.variables["POLYVOX_ADMIN_KEY"]

    @property
    def engine_address(self) -> str:
        """The Temporal nodes behind the load balancer."""
        return f"{self.member('balancer').address}:{TEMPORAL_PORT}"

    @property
    def database_url(self) -> str:
        password = self.variables["POSTGRES_PASSWORD"]
        host = self.member("postgres").address
        return f"postgresql://temporal:{password}@{host}:{POSTGRES_PORT}/polyvox"

    async def in_rotation(self, name: str) -> None:
        """Return when the load balancer sends requests to a gateway: a moment after its health
        check passes. A rolling restart waits for this before it stops the next one."""
        state = f"{self.member('balancer').url(BALANCER_STATE_PORT)}/;csv"
        loop = asyncio.get_running_loop()
        end = loop.time() + HEALTHY_S
        async with httpx.AsyncClient(trust_env=False) as client:
            while not _is_up((await client.get(state)).text, name):
                if loop.time() > end:
                    raise ClusterError(f"The load balancer does not use {name}.")
                await asyncio.sleep(POLL_S)

    def _named(self, prefix: str) -> list[Member]:
        return [member for name, member in sorted(self.members.items()) if name.startswith(prefix)]


@contextlib.asynccontextmanager
async def cluster(
    *,
    shape: Shape = "split",
    config: str | None = None,
    variables: Mapping[str, str] | None = None,
    without: frozenset[str] = frozenset({"temporal-ui"}),
    report: Report = lambda _: None,
) -> AsyncIterator[Cluster]:
    """Start the cluster and return when it serves requests; kill all members at the end.

    ``config`` is the text of ``polyvox.toml`` without ``[cluster]``, else that of
    ``deploy/settings``. ``variables`` go
    before generated keys. ``without`` names services to omit. Call it on the main thread. Raises
    ProgramMissing, and ClusterError if a member does not become healthy.
    """
    values = {
        "POLYVOX_KEY": f"test-{secrets.token_hex(16)}",
        "POLYVOX_ADMIN_KEY": f"test-{secrets.token_hex(16)}",
        "POLYVOX_DEPLOYMENT_KEY": secrets.token_hex(32),
        "POSTGRES_PASSWORD": secrets.token_hex(16),
        **(variables or {}),
    }
    known = read_services(values)
    services = chosen(known, shape, without)
    programs = await find_programs(services, report)
    with _claimed() as (network, folder):
        if config is not None:
            (folder / "polyvox.toml").write_text(config + LANE, "utf-8")
        absent = {*known} - {*services}
        members = await _members(services, absent, network, folder, programs)
        running = Cluster(members, values, folder)
        try:
            await _start(members, report)
            for member in running.gateways:
                await running.in_rotation(member.name)
            yield running
        finally:
            await asyncio.gather(*(member.kill() for member in members.values()))


def chosen(
    services: Mapping[str, Service], shape: Shape, without: frozenset[str]
) -> dict[str, Service]:
    """Return the services that run here; with replicas, gateways become ``polyvox up``."""
    kept = {}
    for name, service in services.items():
        if name in without or service.is_optional or service.image in _NOT_HERE:
            continue
        command = service.command
        if shape == "replicas" and command[:1] == ["worker"]:
            continue
        if shape == "replicas" and command[:1] == ["gateway"]:
            command = ["up", *command[1:]]
        kept[name] = dataclasses.replace(service, command=command)
    return kept


async def _members(
    services: Mapping[str, Service],
    absent: set[str],
    network: str,
    folder: Path,
    programs: Programs,
) -> dict[str, Member]:
    addresses = {name: f"{network}.{number}" for number, name in enumerate(services, start=2)}
    members = {}
    for name, service in services.items():
        place = Place(addresses[name], addresses, folder / name)
        place.folder.mkdir(mode=0o700)
        here = located(service, place, absent)
        launch = await prepare(here, place, programs, folder)
        log = folder / f"{name}.log"
        members[name] = Member(here, launch, place.address, log, programs.postgres)
    return members


async def _start(members: Mapping[str, Member], report: Report) -> None:
    """Start all members in the order that the Compose file gives, as far as possible at once."""
    started = {name: asyncio.Event() for name in members}
    healthy = {name: asyncio.Event() for name in members}

    async def start(member: Member) -> None:
        for other, condition in member.service.depends_on.items():
            await (started if condition == "service_started" else healthy)[other].wait()
        if member.service.is_job:
            await member.run()
        else:
            await member.start(wait=False)
            started[member.name].set()
            await member.healthy()
            report(f"{member.name} is healthy")
        started[member.name].set()
        healthy[member.name].set()

    try:
        async with asyncio.TaskGroup() as group:
            for member in members.values():
                group.create_task(start(member))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _is_up(state: str, name: str) -> bool:
    """Return whether HAProxy's table has the gateway up. Raises KeyError for an unknown name."""
    rows = csv.DictReader(io.StringIO(state.removeprefix("# ")))
    found = {row["svname"]: row["status"] for row in rows if row["pxname"] == "gateways"}
    return found[name] == "UP"


@contextlib.contextmanager
def _claimed() -> Iterator[tuple[str, Path]]:
    """Claim 256 loopback addresses and a folder; delete what ended clusters left."""
    root = Path(tempfile.gettempdir()) / f"polyvox-cluster-{os.getuid()}"
    root.mkdir(mode=0o711, exist_ok=True)
    with contextlib.ExitStack() as stack:
        claimed = None
        for number in range(1, 255):
            network = f"127.84.{number}"
            lock = root / f"{network}.lock"
            if claimed and not lock.exists():
                continue
            file = lock.open("w")
            if not try_lock(file):
                file.close()
                continue
            shutil.rmtree(root / network, ignore_errors=True)
            if claimed:
                fcntl.flock(file, fcntl.LOCK_UN)
                file.close()
            else:
                stack.enter_context(file)
                claimed = network
        if claimed is None:
            raise ClusterError(f"All addresses are in use; see the locks in {root}.")
        _refuse_taken_ports(claimed)
        folder = root / claimed
        folder.mkdir(mode=0o711)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield claimed, folder


def _refuse_taken_ports(network: str) -> None:
    """Raise ClusterError if a program listens on one of the ports on every address."""
    for port in (CLIENT_PORT, LANE_PORT, TEMPORAL_PORT, POSTGRES_PORT, UI_PORT):
        try:
            socket.create_server((f"{network}.1", port)).close()
        except OSError as error:
            raise ClusterError(
                f"Port {port} of {network}.1 cannot be used ({error.strerror}). A program that "
                f"listens on {port} on every address is in the way: stop it, or let it listen on "
                "127.0.0.1."
            ) from None
