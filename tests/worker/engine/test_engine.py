"""The real engine: it starts, answers, comes back, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from polyvox.worker.engine.child import Launch, end_orphan
from polyvox.worker.engine.data_lock import DataFolderInUse, lock_holder
from polyvox.worker.engine.engine import Engine
from polyvox.worker.engine.frontend import EngineError, Frontend
from polyvox.worker.engine.install import install_engine
from polyvox.worker.engine.ports import (
    BROWSER_BLOCKED_PORTS,
    EnginePorts,
    choose_ports,
    free_port,
    read_ports,
    write_ports,
)
from polyvox.worker.settings.file import EngineSettings
from polyvox.worker.settings.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_S = 60.0
POLL_S = 0.02
LINUX = sys.platform == "linux"

PROGRAM = """
import asyncio, os, sys
from pathlib import Path
import uvloop
from polyvox.worker.engine.engine import Engine
from polyvox.worker.settings.settings import Settings

async def main():
    async with Engine(Settings(Path(sys.argv[1])), environ=os.environ) as engine:
        print(engine.pid, flush=True)
        await asyncio.Event().wait()

uvloop.run(main())
"""

FAILING_CLI = """#!/bin/sh
[ "$1" = --version ] && { echo "temporal version 9.9.9 (Server 9.9.8, UI 1.0.0)"; exit 0; }
echo "the database is from the future"
exit 3
"""


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for the condition by looking often; fail with ``what`` after a minute."""
    for _ in range(int(LIMIT_S / POLL_S)):
        if condition():
            return
        await asyncio.sleep(POLL_S)
    pytest.fail(what)


def is_running(pid: int) -> bool:
    if Path("/proc/self/stat").exists():
        try:
            # A process that has ended and was not collected yet is a Z.
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def listening_addresses(pid: int) -> list[str]:
    inodes = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return [
        row[1].partition(":")[0]
        for row in rows
        if row[3] == "0A" and f"socket:[{row[9]}]" in inodes
    ]


def put_failing_cli(folder: Path) -> dict[str, str]:
    """An environment whose `temporal` tells a version and cannot start a server."""
    folder.mkdir()
    cli = folder / "temporal"
    cli.write_text(FAILING_CLI)
    cli.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def running_engine(data: Path, binary: Path) -> Iterator[int]:
    """A dev server on a database in the data folder that no program looks after."""
    folder = data / "engine"
    folder.mkdir(parents=True)
    ports = EnginePorts(free_port(), free_port())
    launch = Launch(binary, folder / "temporal-1.db", ports, "default")
    process = subprocess.Popen(
        launch.command(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        # A process has no words of its own for a moment after its start.
        assert process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    data = tmp_path_factory.mktemp("data folder")
    async with Engine(Settings(data), environ=os.environ) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def binary() -> Path:
    return await install_engine(print, environ=os.environ)


async def test_a_started_engine_answers_and_shows_its_web_ui(engine: Engine) -> None:
    """After start nobody has to wait any more: frontend and UI serve, both on loopback."""
    assert engine.state == "running"
    assert engine.address.startswith("127.0.0.1:")
    assert await engine.answers()
    assert engine.version is not None
    assert engine.version[0].isdigit()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{engine.ui_url}/ui/")).status_code == 200


async def test_the_engine_keeps_history_for_thirty_days(engine: Engine) -> None:
    """The dev server's own day would lose the audit trail."""
    assert await Frontend(engine.address, "default").retention() == timedelta(days=30)


@pytest.mark.skipif(not LINUX, reason="reads /proc/net/tcp")
async def test_every_port_of_the_engine_is_on_the_loopback_address(engine: Engine) -> None:
    """The dev server skips security checks, so nobody else on the network may reach it."""
    assert engine.pid is not None
    addresses = listening_addresses(engine.pid)
    assert len(addresses) >= 2
    assert all(address.endswith("7F") for address in addresses)  # 127.x.y.z, as in proc(5)


async def test_an_engine_that_is_killed_comes_back_at_the_same_address(engine: Engine) -> None:
    """Its death is noticed and the child started again on the same ports and database."""
    address, ui_url, killed, restarts = engine.address, engine.ui_url, engine.pid, engine.restarts
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await until(lambda: engine.state == "restarting", "the death was not noticed")
    await until(lambda: engine.state == "running", "the engine did not come back")
    assert (engine.address, engine.ui_url) == (address, ui_url)
    assert engine.pid not in {None, killed}
    assert engine.restarts == restarts + 1
    assert await engine.answers()


async def test_a_frozen_engine_is_seen_killed_and_restarted(engine: Engine) -> None:
    """It answers nothing while its process lives; requests are refused with that reason."""
    frozen, restarts = engine.pid, engine.restarts
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    await until(lambda: engine.state == "unresponsive", "it is not seen that it is frozen")
    refusal = engine.refusal()
    assert refusal is not None
    assert (refusal.kind, refusal.retry_after_s) == ("overloaded", 2.0)
    assert "does not answer" in refusal.message
    await until(lambda: engine.restarts == restarts + 1, "the engine was not restarted")
    assert not is_running(frozen)
    assert await engine.answers()
    assert engine.refusal() is None


async def test_an_engine_that_was_frozen_briefly_goes_on(engine: Engine) -> None:
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: engine.state == "unresponsive", "it is not seen that it is frozen")
    os.kill(pid, signal.SIGCONT)
    await until(lambda: engine.state == "running", "it is not seen that it answers")
    assert engine.pid == pid


async def test_an_engine_comes_back_although_its_metrics_port_was_taken(engine: Engine) -> None:
    """Few ports are closed to browsers; another engine may have got this one meanwhile."""
    assert engine.log_path is not None
    assert engine.pid is not None
    ports = read_ports(engine.log_path.with_name("ports.json"))
    assert ports is not None
    assert ports.metrics in BROWSER_BLOCKED_PORTS
    restarts = engine.restarts
    os.kill(engine.pid, signal.SIGKILL)
    await until(lambda: engine.state == "restarting", "the death was not noticed")
    async with await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", ports.metrics):
        await until(lambda: engine.restarts > restarts, "the engine did not come back")
    assert await engine.answers()


async def test_a_second_program_on_the_data_folder_is_told_who_holds_it(engine: Engine) -> None:
    """Two programs on one folder would spoil it; the message names process and way out."""
    assert engine.log_path is not None
    data = engine.log_path.parent.parent
    with pytest.raises(DataFolderInUse, match=rf"process {os.getpid()}\. Stop .*--data"):
        await Engine(Settings(data), environ=os.environ).start()
    assert lock_holder(data) == os.getpid()
    assert await engine.answers()


async def test_an_existing_engine_is_used_as_it_is(engine: Engine, tmp_path: Path) -> None:
    """With an address there is no child and no change to the cluster; the folder is still ours."""
    settings = Settings(
        tmp_path, engine=EngineSettings(address=engine.address, ui_address="ui:8080")
    )
    async with Engine(settings, environ={}) as other:
        assert (other.state, other.pid, other.ui_url) == ("running", None, "http://ui:8080")
        assert other.version == engine.version
        with pytest.raises(DataFolderInUse):
            await Engine(settings, environ={}).start()
    assert other.state == "stopped"
    assert lock_holder(tmp_path) is None
    assert await engine.answers()


async def test_a_missing_namespace_is_named(engine: Engine, tmp_path: Path) -> None:
    """The cluster answers and lacks the namespace: that is said, with the command that mends it."""
    settings = Settings(tmp_path, engine=EngineSettings(address=engine.address, namespace="absent"))
    with pytest.raises(EngineError, match=r"no namespace 'absent'.*namespace create -n absent"):
        await Engine(settings, environ={}, ready_limit_s=0).start()


async def test_an_address_where_nobody_answers_is_an_error_that_names_it(tmp_path: Path) -> None:
    """The wait has a limit."""
    address = f"127.0.0.1:{free_port()}"
    settings = Settings(tmp_path, engine=EngineSettings(address=address))
    with pytest.raises(
        EngineError,
        match=f"{address}' did not answer within 0 s \\(Connection refused\\): check the",
    ):
        await Engine(settings, environ={}, ready_limit_s=0).start()


async def test_a_second_start_uses_the_same_database_and_ports(tmp_path: Path) -> None:
    """Links into the Web UI and the history outlive the program."""
    settings = Settings(tmp_path, engine=EngineSettings(namespace="polyvox"))
    async with Engine(settings, environ=os.environ) as engine:
        first = (engine.address, engine.ui_url, engine.version)
        child = engine.pid
    assert child is not None
    assert not is_running(child)
    assert lock_holder(tmp_path) is None
    assert not (tmp_path / "engine" / "engine.pid").exists()
    async with Engine(settings, environ=os.environ) as engine:
        assert (engine.address, engine.ui_url, engine.version) == first
    (database,) = (tmp_path / "engine").glob("*.db")
    assert database.name == f"temporal-{engine.version}.db"


@pytest.mark.skipif(not LINUX, reason="the kernel ends the child on Linux only")
async def test_the_engine_dies_with_a_program_that_is_killed(tmp_path: Path) -> None:
    """kill -9 leaves the program no moment to clean up, and nothing stays behind all the same."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(tmp_path)), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    child = int(await asyncio.wait_for(program.stdout.readline(), LIMIT_S))
    assert is_running(child)
    program.kill()
    await program.communicate()
    await until(lambda: not is_running(child), "the engine outlived the program")
    assert lock_holder(tmp_path) is None


async def test_an_orphan_of_an_earlier_program_is_ended(tmp_path: Path, binary: Path) -> None:
    """Where the kernel does not end the child, the next start does."""
    pid_file = tmp_path / "engine" / "engine.pid"
    with running_engine(tmp_path, binary) as orphan:
        pid_file.write_text(json.dumps({"pid": orphan}))
        assert await asyncio.to_thread(end_orphan, pid_file, pid_file.parent) == orphan
        assert not is_running(orphan)
        assert not pid_file.exists()


async def test_an_engine_of_another_data_folder_is_left_alone(tmp_path: Path, binary: Path) -> None:
    """A process id may have gone to somebody else since it was written down."""
    pid_file = tmp_path / "engine.pid"
    with running_engine(tmp_path / "other", binary) as stranger:
        pid_file.write_text(json.dumps({"pid": stranger}))
        assert await asyncio.to_thread(end_orphan, pid_file, tmp_path) is None
        assert is_running(stranger)


async def test_an_engine_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    """The error carries what the engine said, an old log makes room, and nothing is left."""
    environ = put_failing_cli(tmp_path / "bin")
    log = tmp_path / "data" / "engine" / "engine.log"
    log.parent.mkdir(parents=True)
    log.touch()
    os.truncate(log, 21 * 1024 * 1024)
    engine = Engine(Settings(tmp_path / "data"), environ=environ)
    with pytest.raises(EngineError, match=r"status 3[\s\S]*the database is from the future"):
        await engine.start()
    assert (engine.state, engine.pid) == ("stopped", None)
    assert lock_holder(tmp_path / "data") is None
    assert log.with_name("engine.log.1").stat().st_size == 21 * 1024 * 1024
    assert log.stat().st_size < 1024


async def test_history_of_another_version_is_announced(tmp_path: Path) -> None:
    """Another server version has another database; the operator hears where the old one lies."""
    environ = put_failing_cli(tmp_path / "bin")
    folder = tmp_path / "data" / "engine"
    folder.mkdir(parents=True)
    (folder / "temporal-1.0.0.db").touch()
    said: list[str] = []
    with pytest.raises(EngineError):
        await Engine(Settings(tmp_path / "data"), environ=environ, report=said.append).start()
    assert any("temporal-1.0.0.db" in line and "9.9.8" in line for line in said)


async def test_a_data_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A plain file in the way gives a sentence, not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"file/data'.*--data"):
        await Engine(Settings(tmp_path / "file" / "data"), environ=os.environ).start()


@pytest.mark.parametrize("sign", ["?", "#", "%"])
async def test_a_data_folder_whose_name_breaks_the_database_is_refused(
    tmp_path: Path, sign: str
) -> None:
    """The dev server would open another file than the one named."""
    with pytest.raises(EngineError, match=rf"contains '\{sign}'.*--data"):
        await Engine(Settings(tmp_path / f"a{sign}b"), environ=os.environ).start()
    assert lock_holder(tmp_path / f"a{sign}b") is None


async def test_remembered_ports_are_kept_only_while_they_are_free(tmp_path: Path) -> None:
    """A taken port never stops the start; a free one stays the same."""
    memory = tmp_path / "ports.json"
    wanted = EnginePorts(free_port(), free_port(), "127.0.0.1", free_port())
    write_ports(memory, wanted)
    assert choose_ports(memory, "seed") == wanted
    for name in ("frontend", "ui", "metrics"):
        port = getattr(wanted, name)
        async with await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", port):
            chosen = choose_ports(memory, "seed")
        others = replace(chosen, **{name: port}, ui_host=wanted.ui_host)
        assert getattr(chosen, name) != port
        assert others == wanted
    memory.write_text("not json")
    assert read_ports(memory) is None
