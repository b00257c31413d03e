"""Attempts of model calls are in the ledger from their beginning."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from polyvox.activities.ledger.entries import CallEnded, CallStarted, RunStarted
from polyvox.activities.ledger.entry_writer import EntryWriter
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.unfinished import Unfinished
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.database import open_database
from polyvox.workflows.reply import Cost, Usage

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)
RUN = RunStarted("run-1", "careful", "careful@1", "chat", False, "key_1", NOON)
BEGUN = CallStarted("run-1", "draft", 1, "openai", "gpt-5", NOON, "7")
ENDED = CallEnded(
    "run-1",
    "draft",
    1,
    "openai",
    "gpt-5",
    "completed",
    NOON,
    NOON + timedelta(seconds=2),
    usage=Usage(input=10, output=4),
    cost_usd=0.25,
    call_id="7",
)


@pytest.fixture
async def ledger(urls: StoreUrls) -> AsyncIterator[Ledger]:
    async with Ledger.open(urls.database) as ledger:
        yield ledger


async def test_a_call_is_there_while_it_runs(ledger: Ledger) -> None:
    """Its cost is not unknown, it has none yet; its end completes the same row."""
    ledger.record(RUN)
    ledger.record(BEGUN)
    run = await ledger.run("run-1")
    assert run is not None
    (call,) = run.calls
    assert (call.step, call.status, call.ended_at, call.duration_ms) == (
        "draft",
        "running",
        None,
        None,
    )
    assert run.cost == Cost()
    assert run.spent == Usage()
    ledger.record(ENDED)
    run = await ledger.run("run-1")
    assert run is not None
    (call,) = run.calls
    assert (call.status, call.duration_ms, call.usage) == ("completed", 2000, ENDED.usage)
    assert run.cost == Cost(0.25)


async def test_each_attempt_is_a_row_of_its_own(ledger: Ledger) -> None:
    """Also those of the same step in different calls, and one that begins after another ended."""
    ledger.record(RUN)
    for call_id, attempt in (("7", 1), ("7", 2), ("8", 1)):
        ledger.record(replace(BEGUN, call_id=call_id, attempt=attempt))
    await ledger.flush()
    ledger.record(replace(ENDED, attempt=2))
    ledger.record(replace(ENDED, call_id="8", status="failed"))
    run = await ledger.run("run-1")
    assert run is not None
    assert [(c.call_id, c.attempt, c.status) for c in run.calls] == [
        ("7", 1, "running"),
        ("7", 2, "completed"),
        ("8", 1, "failed"),
    ]


async def test_calls_of_a_process_that_was_killed_stay_as_interrupted(urls: StoreUrls) -> None:
    """What they used and cost is unknown, not nothing; the attempt that follows is another row."""
    url = urls.database
    async with Ledger.open(url) as ledger:
        ledger.record(RUN)
        ledger.record(BEGUN)
    database = open_database(url)
    await Unfinished(database).interrupt_unregistered()
    database.dispose()
    async with Ledger.open(url) as ledger:
        ledger.record(replace(BEGUN, attempt=2))
        ledger.record(replace(ENDED, attempt=2))
        run = await ledger.run("run-1")
    assert run is not None
    first, second = run.calls
    assert (first.attempt, first.status, first.cost_usd) == (1, "interrupted", None)
    assert first.ended_at is not None
    assert first.error_message == (
        "The server stopped during this call; its tokens and cost are not known."
    )
    assert (second.attempt, second.status) == (2, "completed")
    assert run.cost == Cost(0.25, unknown=1)
    assert (run.spent.meters, run.spent.unknown) == (ENDED.usage, 1)
    assert run.spent.total is None


def test_a_call_within_one_batch_is_one_insert(urls: StoreUrls) -> None:
    """So a short attempt costs the database no more than its end alone."""
    engine = open_database(urls.database)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2].split()[0]))
    writer = EntryWriter(engine)
    writer.write([RUN, BEGUN, ENDED])
    assert statements == ["INSERT", "INSERT"]
    statements.clear()
    writer.write([replace(BEGUN, call_id="8")])
    writer.write([replace(ENDED, call_id="8")])
    assert statements == ["INSERT", "UPDATE"]
    engine.dispose()


async def test_a_rejected_attempt_used_nothing(ledger: Ledger) -> None:
    """An attempt that a provider answered without reporting tokens did use some."""
    ledger.record(RUN)
    ledger.record(replace(ENDED, call_id="1", status="failed", usage=Usage(), cost_usd=0.0))
    ledger.record(replace(ENDED, call_id="2"))
    run = await ledger.run("run-1")
    assert run is not None
    assert run.spent.total == 14
    ledger.record(replace(ENDED, call_id="3", usage=Usage(), cost_usd=None))
    run = await ledger.run("run-1")
    assert run is not None
    assert run.spent.total is None
    assert run.spent.unknown == 1


async def test_calls_that_end_at_once_are_written_at_once(urls: StoreUrls) -> None:
    """One transaction for all of them, and none for each."""
    engine = open_database(urls.database)
    writer = EntryWriter(engine)
    calls = [replace(BEGUN, call_id=str(number)) for number in range(3)]
    writer.write([RUN, *calls])
    writer.write([replace(ENDED, call_id=call.call_id) for call in calls])
    async with Ledger.open(urls.database) as ledger:
        run = await ledger.run("run-1")
    assert run is not None
    assert [call.status for call in run.calls] == ["completed"] * 3
    engine.dispose()
