"""Deployments of the matrix: their processes, and which of them each victim is."""

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from polyvox.worker.engine.ports import free_port, read_ports
from tests.crash.processes import (
    SUPERVISOR_S,
    Balancer,
    Supervised,
    engine,
    polyvox,
    postgres,
    resume,
    stop,
)
from tests.programs.processes import EXECUTABLE

KEY = "crash-matrix-user-key"
_OTHERS = ("engine", "postgres")
"""Members that are not programs of Polyvox."""

SECRETS = {
    "POLYVOX_KEY": KEY,
    "POLYVOX_ADMIN_KEY": "crash-matrix-admin-key",
    "POLYVOX_DEPLOYMENT_KEY": "crash-matrix-deployment-key-of-32-characters",
}


@dataclass
class Deployment:
    """The processes of one program on one engine.

    ``members`` are started in their order. ``victims`` are names of members by the name of what
    dies. ``spares`` are members that start only when everything else is at its point, so that
    nothing of the victim's work is theirs before it dies. ``fronts`` are the ports of the front
    doors. The built-in engine is not a member, because its program starts it again.
    """

    folder: Path
    fronts: list[int]
    members: list[Supervised]
    victims: dict[str, tuple[str, ...]]
    database: str
    engine_address: Callable[[], str]
    spares: tuple[str, ...] = ()
    balancer: Balancer | None = None
    killed: list[Supervised] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        port = self.balancer.port if self.balancer else self.fronts[0]
        return f"http://127.0.0.1:{port}"

    @property
    def engine_pid(self) -> int:
        """The process id of the engine, a member or a child of the program."""
        for member in self.members:
            if member.name == "engine":
                return member.pid
        (program,) = self.members
        children = psutil.Process(program.pid).children(recursive=True)
        (found,) = [child for child in children if "start-dev" in child.cmdline()]
        return found.pid

    def start(self) -> None:
        for member in self.members:
            if member.name not in self.spares:
                member.start()
                member.wait_ready()

    def start_spares(self) -> None:
        for member in self.members:
            if member.name in self.spares:
                member.start()
                member.wait_ready()

    def freeze_engine(self) -> int:
        """Stop the engine and return its process id."""
        pid = self.engine_pid
        stop(pid)
        return pid

    def main_pid(self, victim: str) -> int:
        """Return the process of the victim that does the work."""
        if victim == "engine":
            return self.engine_pid
        names = self.victims[victim]
        ours = [m for m in self.members if m.name in names and m.name not in _OTHERS]
        return ours[0].pid

    def kill(self, victim: str) -> float:
        """Kill the victim's processes; return the time."""
        if victim == "engine" and victim not in self.victims:
            psutil.Process(self.engine_pid).kill()
            return time.time()
        names = self.victims[victim]
        self.killed = [member for member in self.members if member.name in names]
        at = time.time()
        for member in self.killed:
            member.kill()
        return at

    def recover(self) -> float:
        """Start what was killed as a supervisor would; return when everything serves."""
        if self.killed:
            time.sleep(SUPERVISOR_S)
        for member in self.killed:
            member.start()
            if member.name in _OTHERS:
                member.wait_ready()
        self.killed = []
        return max(member.wait_ready() for member in self.members)

    def close(self) -> None:
        for member in reversed(self.members):
            if member.name == "engine":
                resume(member.pid)
            member.kill()
        if self.balancer:
            self.balancer.close()


def embedded(folder: Path) -> Deployment:
    """``polyvox up`` with its own engine: killing the program kills the tree."""
    data, port = folder / "data", free_port()
    up = polyvox("up", _up(data, port), folder, port, SECRETS)

    def engine_address() -> str:
        ports = read_ports(data / "engine" / "ports.json")
        assert ports is not None
        return f"127.0.0.1:{ports.frontend}"

    return Deployment(folder, [port], [up], {"tree": ("up",)}, _sqlite(data), engine_address)


def one_replica(folder: Path) -> Deployment:
    """One ``polyvox up`` on an engine of its own life: the program dies, the engine does not."""
    data, port, frontend = folder / "data", free_port(), free_port()
    members = [
        engine(folder, frontend),
        polyvox("up", [*_up(data, port), *_at(frontend)], folder, port, SECRETS),
    ]
    victims = {"replica": ("up",), "engine": ("engine",), "tree": ("engine", "up")}
    return Deployment(
        folder, [port], members, victims, _sqlite(data), lambda: f"127.0.0.1:{frontend}"
    )


def replicas(folder: Path) -> Deployment:
    """Two ``polyvox up`` on one engine and one PostgreSQL behind a load balancer."""
    ports, frontend, database_port = [free_port(), free_port()], free_port(), free_port()
    url = f"postgresql://polyvox@127.0.0.1:{database_port}/polyvox"
    shared = [*_at(frontend), "--database", url]
    members = [
        postgres(folder, database_port),
        engine(folder, frontend),
        *(
            polyvox(f"up{n}", [*_up(folder / f"data{n}", port), *shared], folder, port, SECRETS)
            for n, port in enumerate(ports, start=1)
        ),
    ]
    names = tuple(member.name for member in members)
    victims = {
        "replica": ("up1",),
        "engine": ("engine",),
        "postgres": ("postgres",),
        "tree": names,
    }
    balancer = Balancer(ports)
    return Deployment(
        folder, ports, members, victims, url, lambda: f"127.0.0.1:{frontend}", balancer=balancer
    )


def split(folder: Path) -> Deployment:
    """Two gateways and two workers on one engine and one PostgreSQL.

    The second worker starts when the first one has all calls.
    """
    ports, frontend, database_port = [free_port(), free_port()], free_port(), free_port()
    url = f"postgresql://polyvox@127.0.0.1:{database_port}/polyvox"
    shared = ["--config", str(folder / "polyvox.toml"), *_at(frontend), "--database", url]
    members = [postgres(folder, database_port), engine(folder, frontend)]
    for n in (1, 2):
        data = ["--data", str(folder / f"worker{n}")]
        members.append(polyvox(f"worker{n}", ["worker", *data, *shared], folder, 0, SECRETS))
    for n, port in enumerate(ports, start=1):
        data = ["--data", str(folder / f"gateway{n}"), "--port", str(port)]
        members.append(polyvox(f"gateway{n}", ["gateway", *data, *shared], folder, port, SECRETS))
    victims = {
        "gateway": ("gateway1",),
        "worker": ("worker1",),
        "engine": ("engine",),
        "postgres": ("postgres",),
        "tree": tuple(member.name for member in members),
    }
    return Deployment(
        folder,
        ports,
        members,
        victims,
        url,
        lambda: f"127.0.0.1:{frontend}",
        spares=("worker2",),
        balancer=Balancer(ports),
    )


DEPLOYMENTS: dict[str, Callable[[Path], Deployment]] = {
    "embedded": embedded,
    "one replica": one_replica,
    "replicas": replicas,
    "split": split,
}


def missing(deployment: str, *, has_cluster: bool) -> str | None:
    """Return why the deployment cannot run here, None if it can."""
    if deployment in ("embedded", "one replica"):
        return None
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) and not shutil.which("initdb"):
        return "PostgreSQL is not installed: apt-get install postgresql"
    commands = _printed("--help")
    if deployment == "split" and not all(f" {name} " in commands for name in ("gateway", "worker")):
        return "this version has no `polyvox gateway` and `polyvox worker`"
    if deployment == "cluster":
        return None if has_cluster else "this version has no `tests.cluster`"
    if "--database" not in _printed("up", "--help"):
        return "this version has no `--database`"
    return None


def _printed(*arguments: str) -> str:
    done = subprocess.run([EXECUTABLE, *arguments], capture_output=True, text=True, check=False)
    return done.stdout


def _up(data: Path, port: int) -> list[str]:
    config = data.parent / "polyvox.toml"
    return ["up", "--data", str(data), "--config", str(config), "--port", str(port)]


def _at(frontend: int) -> list[str]:
    return ["--engine", f"127.0.0.1:{frontend}"]


def _sqlite(data: Path) -> str:
    return f"sqlite:///{data}/polyvox.db"
