"""Calls of runs whose client is gone wait, and go on when its retry attaches."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from polyvox.activities.ledger.entries import RunEnded
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.processes import Processes
from polyvox.activities.ledger.unfinished import Unfinished
from polyvox.activities.recovery.orphans import Orphans
from polyvox.activities.storage.database import file_url, open_database
from polyvox.workflows.errors import ModelError
from tests.activities.ledger.test_attempts import NOON, RUN

DEAD = "p_dead"


@dataclass(frozen=True)
class Deployment:
    """One living process and its ledger; ``p_dead`` is not registered."""

    ledger: Ledger
    database: Engine
    processes: Processes

    def orphans(self, orphans_s: float = 30.0) -> Orphans:
        return Orphans(Unfinished(self.database), self.processes, orphans_s)


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    url = file_url(tmp_path / "polyvox.db")
    database = open_database(url)
    processes = Processes(database, version="1")
    await processes.register()
    async with Ledger.open(url) as ledger:
        yield Deployment(ledger, database, processes)
    await processes.leave()
    database.dispose()


async def test_a_call_waits_until_a_retry_attaches(deployment: Deployment) -> None:
    await deployment.ledger.store(replace(RUN, listener=DEAD))
    waiting = asyncio.create_task(deployment.orphans().wait("run-1", DEAD))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    await deployment.ledger.attach("run-1", deployment.processes.process_id)
    await asyncio.wait_for(waiting, 10)


async def test_a_waiting_call_ends_with_its_run(deployment: Deployment) -> None:
    """It must not buy in the seconds before the engine tells it."""
    await deployment.ledger.store(replace(RUN, listener=DEAD))
    waiting = asyncio.create_task(deployment.orphans().wait("run-1", DEAD))
    await deployment.ledger.store(RunEnded("run-1", "cancelled", NOON))
    with pytest.raises(ModelError, match="has ended") as error:
        await asyncio.wait_for(waiting, 10)
    assert error.value.kind == "cancelled"


@pytest.mark.parametrize(
    ("listener", "fetchable", "orphans_s"),
    [("", False, 30.0), (DEAD, True, 30.0), (DEAD, False, -1.0)],
    ids=["nobody listens", "the answer can be fetched", "a setting says so"],
)
async def test_other_calls_do_not_wait(
    deployment: Deployment, listener: str, fetchable: bool, orphans_s: float
) -> None:
    await deployment.ledger.store(replace(RUN, listener=listener or None, fetchable=fetchable))
    orphans = deployment.orphans(orphans_s)
    await asyncio.wait_for(orphans.wait("run-1", listener), 10)
    await asyncio.wait_for(orphans.wait("run-1", deployment.processes.process_id), 10)
