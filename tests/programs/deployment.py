"""A deployment on one machine: processes that share an engine, a database and a key."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from polyvox.worker.engine.binary import inspect
from polyvox.worker.engine.child import Launch
from polyvox.worker.engine.frontend import Frontend
from polyvox.worker.engine.install import install_engine
from polyvox.worker.engine.ports import EnginePorts, free_port
from tests.programs.processes import Child, running

KEY = "test-key"
DEPLOYMENT_KEY = "test-deployment-key-of-48-characters-0123456789a"
START_S = 60.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """The folder with the shared stores, the engine's address, and the simulator's URL."""

    folder: Path
    engine: str
    simulator: str
    config: Path

    def process(
        self, role: str, name: str, *arguments: str, **environ: str
    ) -> AbstractContextManager[Child]:
        """Run ``polyvox ROLE`` with a data folder of its own, named ``name``."""
        port = () if role == "worker" else ("--port", "0")
        return running(
            role,
            *("--data", str(self.folder / name), "--config", str(self.config)),
            *("--engine", self.engine, *self._database(), *port, *arguments),
            folder=self.folder,
            environ={"POLYVOX_KEY": KEY, "POLYVOX_DEPLOYMENT_KEY": DEPLOYMENT_KEY, **environ},
        )

    def _database(self) -> tuple[str, ...]:
        database, blobs = (f"sqlite:///{self.folder / name}.db" for name in ("shared", "blobs"))
        return ("--database", database, "--blobs", blobs)


@contextmanager
def engine(folder: Path) -> Iterator[str]:
    """Run the built-in engine without a program; yield its address."""

    async def launch() -> Launch:
        binary = await inspect(await install_engine(print, environ={}, data=folder))
        return Launch(binary.path, folder / "temporal.db", EnginePorts(free_port()), "default")

    async def answers(address: str) -> None:
        await Frontend(address, "default", None).wait(START_S, lambda: None)

    launched = asyncio.run(launch())
    address = f"127.0.0.1:{launched.ports.frontend}"
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            launched.command(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        asyncio.run(answers(address))
        yield address
    finally:
        process.kill()
        process.wait()


@contextmanager
def deployment(folder: Path, server: str = "") -> Iterator[Deployment]:
    """Run an engine and a simulator; ``server`` are lines of the table of that name."""
    with running("simulate", "--port", "0", folder=folder) as simulator, engine(folder) as address:
        url = simulator.printed(r"at (http\S+)")
        config = folder / "polyvox.toml"
        config.write_text(
            f"[server]\n{server}\n"
            f'[providers.sim]\nprotocol = "chat"\nbase_url = "{url}"\n'
            'dialect = { server = "polyvox" }\n',
            "utf-8",
        )
        yield Deployment(folder, address, url.removesuffix("/v1"), config)
