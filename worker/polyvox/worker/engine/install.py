"""Installs the Temporal CLI if the machine has none: a download by the SDK, else a Go build."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from polyvox.worker.engine.binary import Attempt, EngineBinary, cache_folder, find_engine, inspect
from polyvox.worker.engine.data_lock import try_lock
from polyvox.worker.engine.frontend import EngineError

# The last release that `go install` accepts: later ones contain a replace directive.
GO_PACKAGE = "github.com/temporalio/cli"
GO_RELEASE = "1.5.1"
GO_NEEDED = (1, 25)
# Without the version the CLI would report 0.0.0-DEV; -s -w omit 80 MB of debug information.
GO_LINKER = f"-s -w -X {GO_PACKAGE}/temporalcli.Version={GO_RELEASE}"

DOWNLOAD_SILENCE_S = 20.0
BUILD_LIMIT_S = 30 * 60.0
REPORT_EVERY_S = 5.0

Report = Callable[[str], None]


async def install_engine(
    report: Report, *, environ: Mapping[str, str], data: Path | None = None
) -> Path:
    """Return the path of an engine that was found, else downloaded, else built (3 to 4 minutes).

    ``report`` gets a progress message at least every few seconds during an installation. Raises
    EngineError that lists all attempts with their outcome, and what to install.
    """
    binary, attempts = await find_engine(data, environ)
    if binary is not None:
        return binary.path
    folder = cache_folder(environ)
    folder.mkdir(parents=True, exist_ok=True)
    async with _alone(folder / "install.lock", report):
        # The program that held the lock before may have installed the engine.
        binary, _ = await find_engine(data, environ)
        if binary is not None:
            return binary.path
        for stale in folder.glob("install-*"):
            shutil.rmtree(stale, ignore_errors=True)
        ways: dict[str, Callable[[Path], Awaitable[EngineBinary]]] = {
            "download by the Temporal SDK": lambda work: _download(work, report),
            f"go install {GO_PACKAGE}/cmd/temporal@v{GO_RELEASE}": lambda work: _build(
                work, environ, report
            ),
        }
        for way, get in ways.items():
            with tempfile.TemporaryDirectory(prefix="install-", dir=folder) as work:
                try:
                    fresh = await get(Path(work))
                except EngineError as error:
                    attempts.append(Attempt(way, str(error)))
                    report(f"{way}: {error}")
                    continue
                path = folder / f"temporal-{fresh.cli}"
                fresh.path.replace(path)
                report(f"The Temporal engine {fresh.cli} is installed in {path}")
                return path
    tried = "\n".join(f"  - {attempt.place}: {attempt.outcome}" for attempt in attempts)
    raise EngineError(
        f"No Temporal engine was found, and none could be downloaded or built. Tried:\n{tried}\n"
        "Install the Temporal CLI (https://docs.temporal.io/cli#install) or Go "
        f"{'.'.join(map(str, GO_NEEDED))} or newer (https://go.dev/dl/) and restart, or use an "
        "existing cluster with --engine HOST:PORT."
    )


def ways_to_install(environ: Mapping[str, str]) -> str:
    """Return a description of how an engine would be installed on this machine."""
    download = "a download from temporal.download"
    go = shutil.which("go", path=environ.get("PATH", os.defpath))
    return f"{download}, else a build with {go} (3 to 4 minutes)" if go else download


async def _download(work: Path, report: Report) -> EngineBinary:
    """Have the SDK download the CLI version it is made for.

    The SDK cannot only download: it also starts an in-memory server, which is stopped immediately.
    It does not report progress, so the size of the file is monitored, and the download is given up
    if the file stops growing.
    """
    report("Downloading the Temporal engine from temporal.download")
    starting = asyncio.ensure_future(
        WorkflowEnvironment.start_local(
            download_dest_dir=str(work), dev_server_startup_timeout=timedelta(seconds=60)
        )
    )
    loop = asyncio.get_running_loop()
    began = grew = loop.time()
    size = 0
    while True:
        done, _ = await asyncio.wait({starting}, timeout=REPORT_EVERY_S)
        if done:
            break
        now = loop.time()
        if (total := sum(file.stat().st_size for file in _files(work))) > size:
            size, grew = total, now
        elif now - grew > DOWNLOAD_SILENCE_S:
            starting.cancel()
            raise EngineError(f"no data received for {now - grew:.0f} s")
        report(f"Downloading the Temporal engine: {size / 1e6:.0f} MB, {now - began:.0f} s")
    try:
        environment = starting.result()
    except RuntimeError as error:
        raise EngineError(str(error)) from None
    await environment.shutdown()
    for file in _files(work):
        return await inspect(file)
    raise EngineError("the download produced no file")


async def _build(work: Path, environ: Mapping[str, str], report: Report) -> EngineBinary:
    """Build the CLI from source with the Go on PATH."""
    go = shutil.which("go", path=environ.get("PATH", os.defpath))
    if go is None:
        raise EngineError("Go is not on PATH")
    version = await _go_version(go, environ)
    if version < GO_NEEDED:
        found, needed = (".".join(map(str, each)) for each in (version, GO_NEEDED))
        raise EngineError(f"needs Go {needed} or newer, but {go} is {found}")
    report(
        f"Building the Temporal engine with {go}; this takes 3 to 4 minutes and happens only once"
    )
    process = await asyncio.create_subprocess_exec(
        *(go, "install", "-v", "-ldflags", GO_LINKER, f"{GO_PACKAGE}/cmd/temporal@v{GO_RELEASE}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**environ, "GOBIN": str(work), "GOFLAGS": "-buildvcs=false", "GOWORK": "off"},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(BUILD_LIMIT_S):
            last_lines = await _follow_build(process, report)
    except TimeoutError:
        raise EngineError(f"not finished within {BUILD_LIMIT_S / 60:.0f} minutes") from None
    finally:
        # This also ends Go's compilers, which are in its process group.
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode != 0:
        raise EngineError(f"failed with status {process.returncode}: " + " / ".join(last_lines))
    return await inspect(work / "temporal")


async def _follow_build(process: asyncio.subprocess.Process, report: Report) -> list[str]:
    """Report the progress of ``go install -v`` until it ends; return its last lines of output.

    It prints ``go: downloading MODULE VERSION`` for each module and the name of each package it
    compiles. It prints nothing while it links, which takes half a minute.
    """
    assert process.stderr is not None
    loop = asyncio.get_running_loop()
    began = reported = loop.time()
    modules = packages = 0
    last_lines: list[str] = []
    reading = asyncio.ensure_future(process.stderr.readline())
    try:
        while True:
            done, _ = await asyncio.wait({reading}, timeout=REPORT_EVERY_S)
            if done:
                if not (line := reading.result().decode(errors="replace").strip()):
                    break
                modules += line.startswith("go: downloading")
                packages += not line.startswith("go: ")
                last_lines = [*last_lines[-4:], line]
                reading = asyncio.ensure_future(process.stderr.readline())
            if (now := loop.time()) - reported >= REPORT_EVERY_S:
                reported = now
                report(
                    f"Building the Temporal engine: {modules} modules downloaded, "
                    f"{packages} packages compiled, {now - began:.0f} s"
                )
    finally:
        reading.cancel()
    await process.wait()
    return last_lines


async def _go_version(go: str, environ: Mapping[str, str]) -> tuple[int, ...]:
    process = await asyncio.create_subprocess_exec(
        *(go, "env", "GOVERSION"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(environ),
    )
    output, _ = await process.communicate()
    found = re.match(r"go(\d+)\.(\d+)", output.decode(errors="replace"))
    return (int(found[1]), int(found[2])) if found else (0,)


@contextlib.asynccontextmanager
async def _alone(lock: Path, report: Report) -> AsyncIterator[None]:
    """Hold a lock file, so that two programs do not install the engine at the same time."""
    loop = asyncio.get_running_loop()
    began = reported = loop.time()
    with lock.open("a", encoding="utf-8") as file:
        while not try_lock(file):
            if (now := loop.time()) - reported >= REPORT_EVERY_S:
                reported = now
                report(
                    f"Another program is installing the Temporal engine; waited {now - began:.0f} s"
                )
            await asyncio.sleep(0.2)
        yield


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
