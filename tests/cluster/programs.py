"""Finds the programs of the cluster, and builds Temporal's with Go once.

They are in the user's cache (``~/.cache/polyvox/cluster``), one file for each version. Builds take
5 minutes and 3.3 GB of Go's cache. PostgreSQL and HAProxy are packages of the system.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from polyvox.worker.engine.binary import cache_folder
from polyvox.worker.engine.data_lock import try_lock
from polyvox.worker.engine.install import install_engine
from tests.cluster.topology import Service

GO_MODULES = {
    "temporalio/server": ("temporal-server", "go.temporal.io/server/cmd/server"),
    "temporalio/admin-tools": ("temporal-sql-tool", "go.temporal.io/server/cmd/tools/sql"),
    "temporalio/ui": ("temporal-ui", "github.com/temporalio/ui-server/v2/cmd/server"),
}
"""The name of the program in an image, and the package it is built from. An image and its module
have the same version."""

BUILD_LIMIT_S = 30 * 60.0
REPORT_EVERY_S = 5.0
POSTGRES_FOLDERS = Path("/usr/lib/postgresql")

Report = Callable[[str], None]


class ProgramMissing(Exception):
    """A program of the cluster is not on this machine; the message says how to install it."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of the programs: those built with Go by the names they have in the images."""

    built: Mapping[str, Path]
    temporal_cli: Path
    postgres: Path
    haproxy: Path


async def find_programs(services: Mapping[str, Service], report: Report) -> Programs:
    """Return the programs of ``services``; build what is missing. Raises ProgramMissing."""
    postgres = _postgres_folder()
    haproxy = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if haproxy is None:
        raise ProgramMissing(
            "HAProxy is not installed: apt-get install --no-install-recommends haproxy"
        )
    built = {}
    for service in services.values():
        if service.image in GO_MODULES:
            name, package = GO_MODULES[service.image]
            built[name] = await _go_program(name, package, service.version, report)
    temporal_cli = await install_engine(report, environ=os.environ)
    return Programs(built, temporal_cli, postgres, Path(haproxy))


def _postgres_folder() -> Path:
    folders = [
        path / "bin" for path in POSTGRES_FOLDERS.glob("*") if (path / "bin/initdb").exists()
    ]
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    if not folders:
        raise ProgramMissing(
            "PostgreSQL is not installed: apt-get install --no-install-recommends postgresql"
        )
    return max(folders, key=lambda folder: float(folder.parent.name))


async def _go_program(name: str, package: str, version: str, report: Report) -> Path:
    folder = cache_folder(os.environ).with_name("cluster")
    path = folder / f"{name}-{version}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    async with _alone(folder / "build.lock", report):
        if path.exists():  # built while this program waited
            return path
        go = shutil.which("go")
        if go is None:
            raise ProgramMissing(f"Go is not on PATH; it is needed once to build {name} {version}.")
        report(f"Building {name} {version} with Go; the first build takes 5 minutes.")
        with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as work:
            await _go_install(go, f"{package}@v{version}", Path(work))
            # A program has the name of its package's folder.
            (Path(work) / package.rpartition("/")[2]).replace(path)
    return path


async def _go_install(go: str, package: str, into: Path) -> None:
    """Build one package. Two of them are called ``server``, so each gets its own folder."""
    process = await asyncio.create_subprocess_exec(
        *(go, "install", "-ldflags", "-s -w", package),
        cwd="/",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "GOBIN": str(into), "GOFLAGS": "-buildvcs=false", "GOWORK": "off"},
    )
    try:
        async with asyncio.timeout(BUILD_LIMIT_S):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise ProgramMissing(f"`go install {package}` failed: {last}")


@contextlib.asynccontextmanager
async def _alone(lock: Path, report: Report) -> AsyncIterator[None]:
    """Hold a lock file, so that two programs do not build at the same time."""
    with lock.open("a", encoding="utf-8") as file:
        while not try_lock(file):
            report("Another program is building Temporal's programs; waiting for it.")
            await asyncio.sleep(REPORT_EVERY_S)
        yield
