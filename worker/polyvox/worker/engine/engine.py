"""The Temporal engine of a program: a dev server as a child process, or an existing cluster.

This module finds, starts, monitors and ends the engine; other modules only use ``address``.
Invariants:

- One program per data folder, and one engine per program. The engine ends with the program, even
  if the program is killed.
- ``address`` does not change during the life of an Engine, so a client connects once: after a crash
  the child is restarted on the same ports and the same database. Ports are stored in the data
  folder, so that commands find the engine.
- Web pages cannot reach the engine: its HTTP listeners either accept no Host that a page could
  have, or use a port that browsers block. People use its Web UI through the gateway.
- The name of the database contains the server's version. The dev server creates its tables only in
  a new file and never migrates them, so each version has its own file.
- A started Engine answers requests: ``start`` polls the frontend instead of waiting a fixed time.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from temporalio.runtime import Runtime
from temporalio.service import RPCError

from polyvox.worker.engine.binary import EngineBinary, inspect
from polyvox.worker.engine.child import Launch, end, end_orphan, kill, log_tail, spawn
from polyvox.worker.engine.data_lock import DataLock
from polyvox.worker.engine.frontend import EngineError, Frontend
from polyvox.worker.engine.health import watch_health
from polyvox.worker.engine.install import install_engine
from polyvox.worker.engine.ports import (
    LOOPBACK,
    EnginePorts,
    choose_ports,
    metrics_port,
    write_ports,
)
from polyvox.worker.engine.trouble import engine_error, restarting, unresponsive
from polyvox.worker.settings.settings import Settings
from polyvox.workflows.errors import ModelError

EngineState = Literal["starting", "running", "unresponsive", "restarting", "stopped"]

READY_LIMIT_S = 60.0
RETENTION = timedelta(days=30)
FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 30.0
STEADY_S = 60.0
PORT_ATTEMPTS = 3

_FEW_PORTS = (
    "All ports that browsers block are in use on this machine. The engine runs without its Web UI, "
    "or with its metrics on a port that web pages can read. Stop other engines or programs on such "
    "ports (6665 to 6669 and others) and restart."
)

log = logging.getLogger(__name__)


class Engine:
    """A Temporal engine, started with ``async with`` or ``start`` and ``stop``.

    ``state`` is "running" while the frontend serves requests, and "unresponsive" if it does not
    answer; a child that stays unresponsive is killed and restarted. ``address`` is ``host:port``.
    ``ui_url`` is the address of the Web UI for the gateway, None if there is no Web UI. ``pid`` and
    ``log_path`` are None for an existing cluster. ``version`` is the server's. ``report`` gets
    progress messages for the operator. Start it on the main thread, because on Linux the engine is
    killed when the thread that started it ends.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        environ: Mapping[str, str],
        report: Callable[[str], None] = log.info,
        ports: EnginePorts | None = None,
        runtime: Runtime | None = None,
        ready_limit_s: float = READY_LIMIT_S,
    ) -> None:
        self.state: EngineState = "stopped"
        self.address = settings.engine.address or ""
        self.namespace = settings.engine.namespace
        ui_address = settings.engine.ui_address
        self.ui_url = f"http://{ui_address}" if ui_address else None
        self.version: str | None = None
        self.log_path: Path | None = None
        self.restarts = 0
        self._own = settings.engine.address is None
        self._data = settings.data
        self._folder = settings.data / "engine"
        self._environ = environ
        self._report = report
        self._given_ports = ports
        self._runtime = runtime
        self._ready_limit_s = ready_limit_s
        self._lock = DataLock(settings.data)
        self._launch: Launch | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._checker: asyncio.Task[None] | None = None
        self._was_frozen = False
        self._frontend: Frontend | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, None between a crash and the restart."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the engine and return when it answers requests.

        Raises EngineError (with the remedy, and the end of the log if a child failed) or
        DataFolderInUse. After an error no process is left running.
        """
        self.state = "starting"
        try:
            # Also needed with an existing cluster, for the ledger and keys in the folder.
            self._take_data()
            if self._own:
                await self._start_child()
                self._watcher = asyncio.create_task(self._watch(), name="engine watcher")
            else:
                self._frontend = Frontend(self.address, self.namespace, self._runtime)
                self._report(
                    f"Waiting up to {self._ready_limit_s:.0f} s for the Temporal cluster at "
                    f"{self.address}, namespace {self.namespace} ..."
                )
                await self._frontend.wait(self._ready_limit_s, lambda: None)
            assert self._frontend is not None
            self.version = await self._frontend.version()
        except BaseException:
            await self.stop()
            raise
        self.state = "running"
        self._checker = asyncio.create_task(
            watch_health(self.answers, self._is_up, self._note_health, self._end_frozen),
            name="engine health",
        )

    async def stop(self) -> None:
        """End the child, which has ten seconds to finish, and release the data folder."""
        self.state = "stopped"
        for task in (self._checker, self._watcher):
            if task is None:
                continue
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and (defect := task.exception()):
                log.error("Monitoring the engine failed", exc_info=defect)
        self._checker = self._watcher = None
        if self._process is not None:
            await end(self._process)
            self._process = None
            self._pid_file.unlink(missing_ok=True)
        self._lock.release()

    async def answers(self, limit_s: float = 1.0) -> bool:
        """Return whether the frontend serves requests now."""
        return self._frontend is not None and await self._frontend.answers(limit_s)

    async def explain(self, error: RPCError) -> ModelError:
        """Return the ModelError for clients whose request failed with ``error``."""
        if (refusal := self.refusal()) is not None:
            return refusal
        return await asyncio.to_thread(engine_error, error, self.database)

    def refusal(self) -> ModelError | None:
        """Return why requests are refused now, None if the engine serves them."""
        match self.state:
            case "running":
                return None
            case "unresponsive":
                return unresponsive()
            case _:
                return restarting()

    @property
    def database(self) -> Path | None:
        """The SQLite file of the built-in engine, None for a cluster."""
        return self._launch.database if self._launch is not None else None

    @property
    def _pid_file(self) -> Path:
        return self._folder / "engine.pid"

    def _take_data(self) -> None:
        # The dev server puts the path unescaped into a SQLite URI, and would use another file.
        if odd := set(str(self._data)) & set("?#%"):
            raise EngineError(
                f"The path of the data folder, {str(self._data)!r}, contains {min(odd)!r}, which "
                "the engine's database does not support. Choose another folder with --data."
            )
        try:
            self._lock.acquire()
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise EngineError(
                f"The data folder {str(self._data)!r} cannot be used: {error.strerror}. "
                "Choose another folder with --data."
            ) from None

    async def _start_child(self) -> None:
        self.log_path = self._folder / "engine.log"
        orphan = await asyncio.to_thread(end_orphan, self._pid_file, self._folder)
        if orphan is not None:
            log.warning("Ended the engine process %d that an earlier program left running", orphan)
        path = await install_engine(self._report, environ=self._environ, data=self._data)
        binary = await inspect(path)
        database = self._database(binary)
        memory = self._folder / "ports.json"
        for attempt in range(1, PORT_ATTEMPTS + 1):
            ports = self._given_ports or choose_ports(memory, str(self._data))
            self._launch = Launch(binary.path, database, ports, self.namespace)
            self.address = f"{LOOPBACK}:{ports.frontend}"
            self.ui_url = f"http://{ports.ui_host}:{ports.ui}" if ports.ui else None
            self._frontend = Frontend(self.address, self.namespace, self._runtime)
            try:
                await self._bring_up()
            except EngineError:
                # Another program may have taken a port since it was checked.
                if self._given_ports or ports.free or attempt == PORT_ATTEMPTS:
                    raise
            else:
                write_ports(memory, replace(ports, namespace=self.namespace))
                if ports.ui is None or ports.metrics is None:
                    log.warning(_FEW_PORTS)
                return

    async def _bring_up(self) -> None:
        """Start the child and return when it answers requests; end it if it does not."""
        assert self._launch is not None
        assert self._frontend is not None
        assert self.log_path is not None
        self._process = await spawn(self._launch, self.log_path, self._pid_file, self._environ)
        try:
            await self._frontend.wait(self._ready_limit_s, self._still_alive)
            await self._frontend.keep_history(RETENTION)
        except EngineError as error:
            await end(self._process)
            raise EngineError(
                f"{error}\nThe end of its log {str(self.log_path)!r}:\n{log_tail(self.log_path)}"
            ) from None

    def _still_alive(self) -> None:
        assert self._process is not None
        if self._process.returncode is not None:
            raise EngineError(f"The engine ended with status {self._process.returncode}.")

    async def _watch(self) -> None:
        """Restart the child whenever it exits, and retry until it runs."""
        loop = asyncio.get_running_loop()
        backoff = FIRST_BACKOFF_S
        began = loop.time()
        while True:
            assert self._process is not None
            status = await self._process.wait()
            self.state = "restarting"
            if loop.time() - began > STEADY_S:
                backoff = FIRST_BACKOFF_S
            pause_s = 0.0 if self._was_frozen else backoff
            self._was_frozen = False
            log.error(
                "The engine ended with status %s; restarting it in %.0f s. Its log: %s",
                *(status, pause_s, self.log_path),
            )
            await asyncio.sleep(pause_s)
            backoff = min(backoff * 2, LAST_BACKOFF_S)
            began = loop.time()
            assert self._launch is not None
            # The metrics use one of few ports, so another engine may have taken this one.
            ports = self._launch.ports
            ports = replace(ports, metrics=metrics_port(ports))
            self._launch = replace(self._launch, ports=ports)
            try:
                await self._bring_up()
            except (EngineError, OSError) as error:
                log.error("The engine could not be restarted: %s", error)
                continue
            self.restarts += 1
            self.state = "running"
            log.warning("The engine was restarted at %s", self.address)

    def _is_up(self) -> bool:
        return self.state in ("running", "unresponsive")

    def _note_health(self, answers: bool) -> None:
        self.state = "running" if answers else "unresponsive"
        if answers:
            log.warning("The engine at %s answers again.", self.address)
        else:
            log.error("The engine at %s does not answer.", self.address)

    def _end_frozen(self) -> None:
        """Kill the child, which the watcher then restarts; a cluster is left alone."""
        if self._process is None or self._process.returncode is not None:
            return
        log.error("The engine is frozen; it is killed and started again.")
        self._was_frozen = True
        kill(self._process)

    def _database(self, binary: EngineBinary) -> Path:
        """Return this server version's database; report databases of other versions beside it."""
        database = self._folder / f"temporal-{binary.server}.db"
        if not database.exists():
            for other in self._folder.glob("temporal-*.db"):
                self._report(
                    f"The engine's server has version {binary.server}. The history in {other} was "
                    "written by another version and is not used. Put the CLI of that version on "
                    "PATH to see it."
                )
        return database
