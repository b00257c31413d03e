"""The engine's process: its command line, start and termination."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from polyvox.activities.storage.private_files import make_private, write_private
from polyvox.worker.engine.ports import LOOPBACK, EnginePorts

LOG_LIMIT_BYTES = 20 * 1024 * 1024
STOP_GRACE_S = 10.0
ORPHAN_POLL_S = 0.05

# Measured on two cores with server 1.29.1; names and types from its dynamicconfig/constants.go.
_DYNAMIC_CONFIG = {
    # The default of 20 polls per second and shard delays every step by up to 50 ms.
    "history.transferProcessorMaxPollRPS": "5000",
    "history.timerProcessorMaxPollRPS": "5000",
    "history.visibilityProcessorMaxPollRPS": "5000",
    "history.outboundProcessorMaxPollRPS": "5000",
    # A worker may start an activity with the task that scheduled it: 8.4 instead of 18 ms.
    "system.enableActivityEagerExecution": "true",
    # These limits are meant for shared clusters; this engine has a single user.
    "frontend.rps": "20000",
    "frontend.namespaceRPS": "20000",
    "matching.rps": "20000",
    "history.rps": "20000",
    # Concurrent long polls: each waiting request holds one.
    "frontend.namespaceCount": "10000",
    # Polyvox does not use Nexus, whose HTTP routes do not check the allowed hosts.
    "system.enableNexus": "false",
}
# The path of the Web UI below the gateway's address, so that the gateway can proxy it unchanged.
UI_PATH = "/ui"
_PRAGMAS = {"journal_mode": "WAL", "synchronous": "NORMAL"}

# The environment variables that the engine gets; providers' keys are not among them.
_ENVIRONMENT = ("PATH", "HOME", "USER", "TMPDIR", "LANG", "TZ", "GOMAXPROCS", "GOMEMLIMIT", "GOGC")


@dataclass(frozen=True, slots=True)
class Launch:
    """The parameters of one start. ``database`` is absolute and identifies the process.

    ``http_host`` is the only Host that the engine's HTTP API accepts. The API cannot be turned off,
    so this is a random name that cannot be resolved.
    """

    binary: Path
    database: Path
    ports: EnginePorts
    namespace: str
    http_host: str = field(default_factory=lambda: f"{secrets.token_hex(16)}.invalid")

    def command(self) -> list[str]:
        """Return the command line, beginning with the binary."""
        command = [
            *(str(self.binary), "server", "start-dev"),
            *("--db-filename", str(self.database)),
            *("--ip", LOOPBACK, "--port", str(self.ports.frontend)),
            *("--namespace", self.namespace),
            *("--log-level", "warn", "--log-format", "text"),
        ]
        if self.ports.ui is None:
            command += ["--headless"]
        else:
            command += ["--ui-ip", self.ports.ui_host, "--ui-port", str(self.ports.ui)]
            command += ["--ui-public-path", UI_PATH]
        if self.ports.metrics is not None:
            command += ["--metrics-port", str(self.ports.metrics)]
        for key, value in _PRAGMAS.items():
            command += ["--sqlite-pragma", f"{key}={value}"]
        dynamic = {**_DYNAMIC_CONFIG, "frontend.httpAllowedHosts": json.dumps([self.http_host])}
        for key, value in dynamic.items():
            command += ["--dynamic-config-value", f"{key}={value}"]
        return command


async def spawn(
    launch: Launch, log: Path, pid_file: Path, environ: Mapping[str, str]
) -> asyncio.subprocess.Process:
    """Start the engine in its own process group, so that it does not receive Ctrl-C.

    On Linux the engine is killed when the *thread* that calls this ends, so call it on the main
    thread. On other systems the next start finds an orphan by ``pid_file``.
    """
    _rotate(log)
    environment = {name: environ[name] for name in _ENVIRONMENT if name in environ}
    environment["TEMPORAL_VERSION_CHECK_DISABLED"] = "1"
    guard = Path(__file__).with_name("guard.py")
    make_private(log)
    with log.open("ab") as output:
        spawning = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(guard), str(os.getpid())),
                *launch.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # If cancelled between fork and return, nothing else would end the child.
            await end(await spawning)
            raise
    _remember(pid_file, process.pid)
    return process


async def end(process: asyncio.subprocess.Process) -> None:
    """Send SIGTERM, after ten seconds SIGKILL; return when the process has ended."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_GRACE_S)
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()


def kill(process: asyncio.subprocess.Process) -> None:
    """Send SIGKILL, which also ends a process that was stopped."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGKILL)


def end_orphan(pid_file: Path, database_folder: Path) -> int | None:
    """End the engine that an earlier program left running; return its process id if there was one.

    The id may have been reused, so only a dev server with a database in this folder is ended.
    Blocks for up to ten seconds.
    """
    try:
        pid = int(json.loads(pid_file.read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = _is_engine(pid, database_folder)
    if found:
        _signal_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_GRACE_S
        # A process that is ending loses its command line before it releases files and ports.
        while _is_engine(pid, database_folder) or (_is_alive(pid) and not _command_line(pid)):
            if time.monotonic() > deadline:
                _signal_group(pid, signal.SIGKILL)
            time.sleep(ORPHAN_POLL_S)
    pid_file.unlink(missing_ok=True)
    return pid if found else None


def log_tail(log: Path, lines: int = 15) -> str:
    """Return the last ``lines`` of the engine's log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _is_engine(pid: int, database_folder: Path) -> bool:
    ours = rf"start-dev --db-filename {re.escape(str(database_folder))}/temporal-[^/ ]+\.db "
    return re.search(ours, _command_line(pid)) is not None


def _is_alive(pid: int) -> bool:
    """Return whether the process exists and has not ended; a zombie has ended."""
    try:
        return psutil.Process(pid).status() not in {psutil.STATUS_DEAD, psutil.STATUS_ZOMBIE}
    except psutil.Error:
        return False


def _command_line(pid: int) -> str:
    """Return the command line of a running process, joined by spaces; empty if there is none."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def _remember(pid_file: Path, pid: int) -> None:
    write_private(pid_file, json.dumps({"pid": pid}).encode() + b"\n")


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def _rotate(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_name(log.name + ".1"))
