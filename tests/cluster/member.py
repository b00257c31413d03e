"""One running service of the cluster."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.cluster.launching import Launch
from tests.cluster.topology import Service

HEALTHY_S = 180.0
CHECK_S = 10.0
POLL_S = 0.3
JOB_TRIES = 5


class ClusterError(Exception):
    """The cluster cannot start or go on; the message has the last lines of the member's log."""


class Member:
    """A service as a process: it can be started, stopped and killed as often as wanted.

    ``address`` is its own loopback address. Its data survive until the cluster ends.
    """

    def __init__(
        self, service: Service, launch: Launch, address: str, log: Path, postgres: Path
    ) -> None:
        self.name = service.name
        self.service = service
        self.address = address
        self.log = log
        self._launch = launch
        self._postgres = postgres
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises ClusterError if it has not been started."""
        if self._process is None:
            raise ClusterError(f"{self.name} has not been started.")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def url(self, port: int) -> str:
        """Return the HTTP address of one of its ports."""
        return f"http://{self.address}:{port}"

    async def start(self, *, wait: bool = True) -> None:
        """Start it, and return when its health check passes. Call it on the main thread."""
        if self.is_running:
            raise ClusterError(f"{self.name} is already running.")
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._launch.guarded(),
                cwd=self._launch.folder if not self._launch.user else "/",
                env=dict(self._launch.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C goes to the program that starts the cluster alone.
                start_new_session=True,
            )
        if wait:
            await self.healthy()

    async def run(self) -> None:
        """Run a job to its end, again if it fails, as its restart policy says."""
        for _ in range(JOB_TRIES):
            await self.start(wait=False)
            assert self._process
            if await self._process.wait() == 0:
                return
        raise self._failure(f"failed {JOB_TRIES} times")

    async def healthy(self, limit_s: float = HEALTHY_S) -> None:
        """Return when the service's health check passes. Raises ClusterError if it does not."""
        try:
            async with asyncio.timeout(limit_s):
                while not await self.is_healthy():
                    if not self.is_running:
                        raise self._failure("ended")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise self._failure(f"is not healthy after {limit_s:g} s") from None

    async def is_healthy(self) -> bool:
        """Run the health check of the Compose file once."""
        check = self.service.health_check
        if not check:
            return self.is_running
        if check[0] == "nc":  # busybox's, in an image; the one installed here may not be
            return await _accepts(*check[-2:])
        command = {"python": sys.executable, "pg_isready": str(self._postgres / "pg_isready")}
        process = await asyncio.create_subprocess_exec(
            *(command.get(check[0], check[0]), *check[1:]),
            env=dict(self._launch.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(CHECK_S):
                return await process.wait() == 0
        except TimeoutError:
            return False
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def stop(self) -> int:
        """Ask it to end as Docker does, and kill it after its grace period; return its status."""
        self._signal(self._launch.stop_signal)
        assert self._process
        try:
            async with asyncio.timeout(self.service.stop_grace_s):
                return await self._process.wait()
        except TimeoutError:
            await self.kill()
            return -signal.SIGKILL

    async def kill(self) -> None:
        """Kill it and its child processes at once, like ``kill -9`` or a machine without power."""
        if self._process is None:
            return
        self._each(psutil.Process.kill)
        await self._process.wait()

    async def restart(self) -> None:
        """Stop it and start it again."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """Freeze it with its child processes: it keeps its connections and answers nothing."""
        self._each(psutil.Process.suspend)

    def resume(self) -> None:
        self._each(psutil.Process.resume)

    def printed(self) -> str:
        """Return its log, of all its starts."""
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _each(self, act: Callable[[psutil.Process], None]) -> None:
        try:
            process = psutil.Process(self.pid)
            family = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                act(each)

    def _failure(self, what: str) -> ClusterError:
        last = "\n".join(self.printed().splitlines()[-20:])
        return ClusterError(f"{self.name} {what}. {self.log} ends with:\n{last}")


async def _accepts(host: str, port: str) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True
