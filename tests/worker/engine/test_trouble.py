"""What is wrong with the engine is said as it is: stopped, slow, full, locked, overloaded."""

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.api.namespace.v1 import UpdateNamespaceInfo
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from polyvox.worker.engine.engine import Engine
from polyvox.worker.engine.trouble import engine_error
from polyvox.worker.settings.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

FULL_DISK = """
import sys
from pathlib import Path
from temporalio.service import RPCError, RPCStatusCode
from polyvox.worker.engine.trouble import engine_error

full = Path(sys.argv[1])
(full / "rest").write_bytes(bytes(3_500_000))
error = RPCError("shard status unknown", RPCStatusCode.UNAVAILABLE, b"")
print(engine_error(error, full / "temporal.db").message)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    settings = Settings(tmp_path_factory.mktemp("engine") / "data")
    async with Engine(settings, environ=os.environ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(engine: Engine) -> Client:
    return await Client.connect(engine.address, namespace=engine.namespace)


async def failed_write(client: Client, limit_s: float) -> RPCError:
    """Let the engine write something and return how it failed."""
    request = UpdateNamespaceRequest(
        namespace=client.namespace, update_info=UpdateNamespaceInfo(description="written")
    )
    with pytest.raises(RPCError) as failed:
        await client.workflow_service.update_namespace(
            request, retry=False, timeout=timedelta(seconds=limit_s)
        )
    return failed.value


def database_of(engine: Engine) -> Path:
    assert engine.log_path is not None
    (database,) = engine.log_path.parent.glob("temporal-*.db")
    return database


async def test_a_locked_database_is_named(engine: Engine, client: Client) -> None:
    with closing(sqlite3.connect(database_of(engine))) as other:
        other.execute("BEGIN IMMEDIATE")
        error = await engine.explain(await failed_write(client, 15.0))
        other.execute("ROLLBACK")
    assert "another program has locked the engine's database" in error.message
    assert (error.kind, error.http_status) == ("overloaded", 503)


async def test_an_engine_that_does_not_answer_in_time_is_said_to_be_slow(
    engine: Engine, client: Client
) -> None:
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    # The signal stops the engine's threads one by one, and only this reports that all have stopped.
    await asyncio.to_thread(os.waitid, os.P_PID, engine.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        error = await engine.explain(await failed_write(client, 0.2))
    finally:
        os.kill(engine.pid, signal.SIGCONT)
    assert "did not answer in time" in error.message


async def test_an_engine_that_is_started_again_is_said_to_be() -> None:
    stopped = Engine(Settings(Path("never-made")), environ={})
    error = await stopped.explain(RPCError("tcp connect error", RPCStatusCode.UNAVAILABLE, b""))
    assert "is being restarted" in error.message


@pytest.mark.parametrize(
    ("status", "message", "kind", "told"),
    [
        (RPCStatusCode.RESOURCE_EXHAUSTED, "namespace rate limit", "overloaded", "is overloaded"),
        (RPCStatusCode.UNAVAILABLE, "tcp connect error", "overloaded", "cannot be reached"),
        (RPCStatusCode.DEADLINE_EXCEEDED, "5 s", "overloaded", "did not answer in time"),
        (RPCStatusCode.PERMISSION_DENIED, "no", "internal", "rejected this server"),
        (RPCStatusCode.UNAUTHENTICATED, "no", "internal", "rejected this server"),
        (RPCStatusCode.NOT_FOUND, "Namespace x is not found", "internal", "have the namespace"),
    ],
)
async def test_each_status_of_a_cluster_has_its_own_sentence(
    status: RPCStatusCode, message: str, kind: str, told: str
) -> None:
    error = engine_error(RPCError(message, status, b""))
    assert (error.kind, told in error.message, message in error.message) == (kind, True, True)
    assert (error.retry_after_s is not None) == (kind == "overloaded")


async def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """On a file system of 4 MB, mounted where only the child process sees it."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare (util-linux) is not installed")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=4m tmpfs "{disk}" && exec "$0" -c "$1" "{disk}"'
    program = (unshare, "--user", "--map-root-user", "--mount", "sh", "-c", mount, sys.executable)
    process = await asyncio.create_subprocess_exec(
        *program, FULL_DISK, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, complaints = (text.decode() for text in await process.communicate())
    if "unshare" in complaints or "mount" in complaints:
        pytest.skip(f"a file system cannot be mounted here: {complaints.strip()}")
    assert "the server's disk is full" in printed, complaints
