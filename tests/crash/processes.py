"""The processes of a deployment, each started again as an operator's supervisor would."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import psutil

from polyvox.worker.engine.child import Launch
from polyvox.worker.engine.install import install_engine
from polyvox.worker.engine.ports import EnginePorts, free_port
from tests.programs.processes import EXECUTABLE
from tests.programs.running import until

SUPERVISOR_S = 0.5
"""The time after which a supervisor starts a dead process again."""

PROBE_S = 2.0

READY = " is ready. Probes: "
"""What a process without a front door prints when it works."""


class Supervised:
    """A process with a fixed command line; ``probe`` says whether it serves."""

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        probe: Callable[[], bool],
        environ: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.starts = 0
        self._command = command
        self._folder = folder
        self._probe = probe
        self._environ = environ
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        self.starts += 1
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environ,
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self) -> float:
        """Return the time at which it serves. Raises AssertionError with its log if it ends."""

        def look() -> bool | None:
            if self._process is not None and self._process.poll() is not None:
                log = self.log.read_text("utf-8", errors="replace")[-2000:]
                raise AssertionError(f"{self.name} ended with {self._process.returncode}:\n{log}")
            return self._probe() or None

        until(look, f"{self.name} is not ready: {self.log}")
        return time.time()

    def kill(self) -> None:
        """Kill it and its children with SIGKILL."""
        if self._process is None or self._process.poll() is not None:
            return
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.wait()


def answers(url: str) -> Callable[[], bool]:
    """Return a probe that asks ``url``."""

    def look() -> bool:
        try:
            return httpx.get(url, trust_env=False, timeout=PROBE_S).is_success
        except httpx.HTTPError:
            return False

    return look


def accepts(port: int) -> Callable[[], bool]:
    """Return a probe that connects to ``port``."""

    def look() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=PROBE_S).close()
        except OSError:
            return False
        return True

    return look


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what would configure a program, and ``more``."""
    foreign = ("OTEL_", "POLYVOX_", "TEMPORAL_")
    known = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**known, "PYTHONUNBUFFERED": "1", **more}


def polyvox(
    name: str, arguments: list[str], folder: Path, port: int, environ: Mapping[str, str]
) -> Supervised:
    """Return ``polyvox ARGUMENTS`` whose front door is at ``port``, 0 if it has none.

    Without a front door, it is ready when it has printed so after its newest start.
    """

    def has_said_so() -> bool:
        return program.log.read_text("utf-8", errors="replace").count(READY) >= program.starts

    probe = answers(f"http://127.0.0.1:{port}/readyz") if port else has_said_so
    command = [str(EXECUTABLE), *arguments]
    program = Supervised(name, command, folder, probe, environment(**environ))
    return program


def engine(folder: Path, port: int) -> Supervised:
    """Return a Temporal server with the flags of the built-in engine, for several processes."""
    binary = asyncio.run(install_engine(print, environ=os.environ))
    database = folder / "temporal.db"
    launch = Launch(binary, database, EnginePorts(port, None), "default")
    environ = environment(TEMPORAL_VERSION_CHECK_DISABLED="1")
    return Supervised("engine", launch.command(), folder, accepts(port), environ)


def postgres(folder: Path, port: int) -> Supervised:
    """Initialise a PostgreSQL cluster with a database ``polyvox`` and return its server.

    As root its programs run as the user ``postgres``, because they refuse to run as root.
    """
    user = "postgres" if os.geteuid() == 0 else None
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    binaries = found[-1] if found else Path(shutil.which("postgres") or "/nowhere/postgres").parent
    data = folder / "postgres"
    data.mkdir()
    if user:
        shutil.chown(data, user)
        folder.chmod(0o711)
    initialise = ["-D", str(data), "-U", "polyvox", "-A", "trust", "-E", "UTF8", "--locale=C"]
    subprocess.run(
        [binaries / "initdb", *initialise], user=user, cwd="/", check=True, capture_output=True
    )
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "128MB",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = [str(binaries / "postgres"), "-D", str(data), *options]
    server = Supervised("postgres", command, Path("/"), accepts(port), user=user)
    server.log = folder / "postgres.log"
    server.start()
    server.wait_ready()
    until(
        lambda: (
            subprocess.run(
                [binaries / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "polyvox"],
                check=False,
                capture_output=True,
                env={**os.environ, "PGDATABASE": "polyvox"},
            ).returncode
            == 0
            or None
        ),
        "the database was not created",
    )
    return server


def stop(pid: int) -> None:
    """Freeze a process with SIGSTOP."""
    os.kill(pid, signal.SIGSTOP)


def resume(pid: int) -> None:
    """Let a frozen process continue, if it still exists."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


class Balancer:
    """A TCP load balancer: each connection goes to the first member that accepts it."""

    def __init__(self, members: list[int]) -> None:
        self.port = free_port()
        self._members = members
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self._thread = threading.Thread(target=self._accept, name="balancer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            member = self._connected()
            if member is None:
                client.close()
                continue
            for source, target in ((client, member), (member, client)):
                threading.Thread(target=_copy, args=(source, target), daemon=True).start()

    def _connected(self) -> socket.socket | None:
        for port in self._members:
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port), timeout=PROBE_S)
        return None


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        source.settimeout(None)
        target.settimeout(None)
        while part := source.recv(65536):
            target.sendall(part)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
