"""What a crash leaves: runs and calls without an end, and finished Replies."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from polyvox.activities.ledger.entries import CallFinished, RunEnded
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.processes import Processes
from polyvox.activities.ledger.unfinished import Unfinished
from polyvox.activities.recovery.finished_replies import packed, text_of, unpacked
from polyvox.activities.storage.database import file_url, open_database
from polyvox.workflows.conversation import Text
from polyvox.workflows.reply import Reply, Usage
from tests.activities.ledger.test_attempts import BEGUN, ENDED, NOON, RUN


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with Ledger.open(file_url(tmp_path / "polyvox.db")) as ledger:
        yield ledger


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Engine]:
    engine = open_database(file_url(tmp_path / "polyvox.db"))
    yield engine
    engine.dispose()


async def test_runs_without_an_end_are_the_ones_to_look_into(
    ledger: Ledger, database: Engine
) -> None:
    """After a crash the ledger names the runs whose fate it does not know, oldest first."""
    for number in range(3):
        begun = NOON - timedelta(seconds=number)
        ledger.record(replace(RUN, run_id=f"run-{number}", started_at=begun, listener="p_1"))
    ledger.record(RunEnded("run-1", "completed", NOON))
    await ledger.flush()
    found = await Unfinished(database).runs()
    assert [(run.run_id, run.listener, run.fetchable) for run in found] == [
        ("run-2", "p_1", False),
        ("run-0", "p_1", False),
    ]


async def test_a_run_changes_its_listener_when_a_retry_attaches(ledger: Ledger) -> None:
    await ledger.store(replace(RUN, listener="p_1"))
    assert await ledger.listener_of("run-1") == "p_1"
    await ledger.attach("run-1", "p_2")
    assert await ledger.listener_of("run-1") == "p_2"
    assert await ledger.listener_of("unknown") is None


async def test_a_finished_reply_is_found_until_its_run_ends(
    ledger: Ledger, database: Engine
) -> None:
    """It has the text of the Reply, with numbers of any length."""
    unfinished = Unfinished(database)
    reply = Reply((Text("Forty-two."),), "stop", Usage(input=1, output=2), model="m", cost_usd=0.5)
    await ledger.store(RUN)
    await ledger.store(BEGUN)
    await ledger.store(CallFinished(ENDED, packed(text_of(reply))))
    stored = await unfinished.finished_reply("run-1", "7")
    assert stored is not None
    assert unpacked(stored) == reply
    assert await unfinished.finished_reply("run-1", "8") is None
    run = await ledger.run("run-1")
    assert run is not None
    assert [call.status for call in run.calls] == ["completed"]
    await ledger.store(RunEnded("run-1", "completed", NOON))
    assert await unfinished.finished_reply("run-1", "7") is None


async def test_a_reply_that_finished_after_its_run_is_swept(
    ledger: Ledger, database: Engine
) -> None:
    unfinished = Unfinished(database)
    await ledger.store(RUN)
    await ledger.store(CallFinished(ENDED, b"kept"))
    await unfinished.forget_replies()
    assert await unfinished.finished_reply("run-1", "7") == b"kept"
    await ledger.store(RunEnded("run-1", "cancelled", NOON))
    await ledger.store(CallFinished(replace(ENDED, call_id="8"), b"late"))
    assert await unfinished.finished_reply("run-1", "8") == b"late"
    await unfinished.forget_replies()
    assert await unfinished.finished_reply("run-1", "8") is None


async def test_only_the_calls_of_dead_processes_are_interrupted(
    ledger: Ledger, database: Engine
) -> None:
    """A process that was taken for dead may still end its call, and that end is the true one."""
    living = Processes(database, version="1", process_id="p_1")
    await living.register()
    await ledger.store(RUN)
    for number, process in enumerate(("p_1", "p_2", "p_3")):
        await ledger.store(replace(BEGUN, call_id=str(number), process=process))
    await Unfinished(database).interrupt(["p_2"])
    run = await ledger.run("run-1")
    assert run is not None
    assert [call.status for call in run.calls] == ["running", "interrupted", "running"]
    await Unfinished(database).interrupt_unregistered()
    await ledger.store(replace(ENDED, call_id="1"))
    run = await ledger.run("run-1")
    assert run is not None
    assert [call.status for call in run.calls] == ["running", "completed", "interrupted"]
    await living.leave()
