"""The topology of ``docker-compose.yaml`` as a deployment: the only one with two Temporal nodes.

Its members are started by ``tests.cluster``, which kills them with the thread that started them. So
an event loop of its own thread does that, until the deployment is closed.
"""

import asyncio
import importlib
import importlib.util
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tests.crash.deployments import SECRETS
from tests.crash.processes import SUPERVISOR_S

PACKAGE = "tests.cluster.running"
START_LIMIT_S = 180.0
STEP_LIMIT_S = 90.0

VICTIMS = {
    "temporal node": ("temporal-1",),
    "worker": ("worker-1",),
    "gateway": ("gateway-1",),
    "postgres": ("postgres",),
}


def is_there() -> bool:
    """Return whether the repository has the cluster's program."""
    try:
        return importlib.util.find_spec(PACKAGE) is not None
    except ModuleNotFoundError:
        return False


class ClusterDeployment:
    """See ``deployments.Deployment``, which has the same methods."""

    def __init__(self, folder: Path) -> None:
        self._config = (folder / "polyvox.toml").read_text("utf-8")
        self._ready: Future[Any] = Future()
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="cluster", daemon=True)
        self._killed: tuple[str, ...] = ()

    @property
    def base_url(self) -> str:
        return str(self._cluster.base_url)

    @property
    def database(self) -> str:
        return str(self._cluster.database_url)

    def engine_address(self) -> str:
        return str(self._cluster.engine_address)

    def start(self) -> None:
        self._thread.start()
        self._ready.result(START_LIMIT_S)

    def start_spares(self) -> None:
        """Do nothing: all members are there from the start."""

    def freeze_engine(self) -> int:
        raise NotImplementedError("The cluster has two engines: choose points without a frozen one")

    def main_pid(self, victim: str) -> int:
        return int(self._cluster.member(VICTIMS[victim][0]).pid)

    def kill(self, victim: str) -> float:
        self._killed = VICTIMS[victim]
        at = time.time()
        for name in self._killed:
            self._do(self._cluster.member(name).kill())
        return at

    def recover(self) -> float:
        time.sleep(SUPERVISOR_S)
        for name in self._killed:
            self._do(self._cluster.member(name).start())
        self._killed = ()
        return time.time()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(STEP_LIMIT_S)

    @property
    def _cluster(self) -> Any:
        # Untyped, because the package may be missing.
        return self._ready.result(0)

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(STEP_LIMIT_S)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._run())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
        finally:
            self._loop.close()

    async def _run(self) -> None:
        package = importlib.import_module(PACKAGE)
        async with package.cluster(config=self._config, variables=SECRETS) as running:
            self._ready.set_result(running)
            await self._closing.wait()
