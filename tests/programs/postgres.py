"""A private PostgreSQL for tests: one server per test process, a database per test.

It needs PostgreSQL's programs (``apt-get install postgresql``), and nothing else: the server
listens on a free loopback port, keeps its files in a temporary folder, and does not wait for the
disk. Databases are copies of one that has the tables already.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from polyvox.activities.storage.database import BLOBS, MAIN, open_database

PASSWORD = "polyvox-test"
USER = "polyvox"

_MIGRATED = "migrated"

_MISSING = (
    "PostgreSQL's programs (initdb, pg_ctl) are not installed. Install the package: "
    "apt-get install --no-install-recommends postgresql"
)

_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = 32MB
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
jit = off
"""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server; ``url`` is that of its database ``database``."""

    folder: Path
    port: int
    database: str = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{self.database}"

    def start(self) -> None:
        """Start the server, and wait until it can be used."""
        _run("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server: ``immediate`` is a crash, ``fast`` ends the connections first."""
        _run("pg_ctl", "-D", f"{self.folder}/data", "-m", mode, "-w", "stop")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and its backends, such as SIGSTOP and SIGCONT."""
        lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        own = int(lines[0])
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        for pid in (own, *map(int, children)):
            os.kill(pid, number)

    @contextmanager
    def new_database(self) -> Iterator["Postgres"]:
        """Create a database with empty tables, and drop it afterwards with its connections."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {_MIGRATED}")
        try:
            yield replace(self, database=name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def bare_database(self) -> Iterator["Postgres"]:
        """Create a database without tables, and drop it afterwards with its connections."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield replace(self, database=name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def make_template(self) -> None:
        """Create the database that ``new_database`` copies."""
        self._execute(f"CREATE DATABASE {_MIGRATED} TEMPLATE template0")
        for schema in (MAIN, BLOBS):
            open_database(replace(self, database=_MIGRATED).url, schema).dispose()

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server with an empty cluster; stop it and delete its files at the end."""
    # Not below pytest's folder, which only this user may enter: the server may run as another one.
    folder = Path(tempfile.mkdtemp(prefix="polyvox-postgres-"))
    server = Postgres(folder, _free_port())
    try:
        folder.chmod(0o755)
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        if _other_user():
            shutil.chown(folder, "postgres")
        options = ("-U", USER, "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8")
        _run("initdb", "-D", f"{folder}/data", *options, "--locale=C", "--no-sync")
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS.format(port=server.port))
        server.start()
        try:
            server.make_template()
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Return the folder of the newest PostgreSQL's programs."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: float(file.parts[-3])
    )
    assert versions, _MISSING
    return versions[-1].parent


def _other_user() -> bool:
    """Return whether the server must run as another user: it refuses to run as root."""
    return os.geteuid() == 0


def _run(program: str, *arguments: str) -> None:
    command = [str(_programs() / program), *arguments]
    other = pwd.getpwnam("postgres") if _other_user() else None
    done = subprocess.run(
        command,
        cwd="/",
        user=other.pw_uid if other else None,
        group=other.pw_gid if other else None,
        extra_groups=[] if other else None,
        stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
        stderr=subprocess.STDOUT if program == "initdb" else subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} failed: {done.stdout}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
