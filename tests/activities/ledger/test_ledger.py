"""The ledger on a real SQLite file and on a real PostgreSQL."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from polyvox.activities.ledger.api_keys import FRESH_S
from polyvox.activities.ledger.entries import CallEnded, RunEnded, RunStarted
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.statements import MESSAGE_LIMIT
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.database import file_url
from polyvox.activities.storage.write_queue import WriteQueue
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Cost, Usage

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "polyvox.db"


@pytest.fixture
async def ledger(urls: StoreUrls) -> AsyncIterator[Ledger]:
    async with Ledger.open(urls.database) as ledger:
        yield ledger


def started(run_id: str, second: int = 0, model: str = "careful") -> RunStarted:
    return RunStarted(
        run_id, model, "fusion@1", "messages", True, "key_1", NOON + timedelta(seconds=second)
    )


def ended(run_id: str, second: int = 3) -> RunEnded:
    return RunEnded(run_id, "completed", NOON + timedelta(seconds=second), finish="stop")


def called(run_id: str, step: str, second: int = 1) -> CallEnded:
    at = NOON + timedelta(seconds=second)
    return CallEnded(
        run_id,
        step,
        1,
        "openai",
        "gpt-5",
        "completed",
        at,
        at + timedelta(milliseconds=900),
        first_token_at=at + timedelta(milliseconds=120),
        usage=Usage(input=10, output=4),
        finish="stop",
        response_model="gpt-5-2030",
    )


async def test_a_run_is_read_back_as_it_was_recorded(ledger: Ledger) -> None:
    """What goes in comes out: times with their zone, unknown meters as unknown, calls in order."""
    ledger.record(started("run-1"))
    ledger.record(called("run-1", "final", second=2))
    ledger.record(replace(called("run-1", "draft", second=1), cost_usd=0.25))
    ledger.record(called("run-2", "other"))
    ledger.record(
        RunEnded(
            "run-1",
            "failed",
            NOON + timedelta(seconds=3),
            error_kind="rate_limit",
            error_message="slow down",
            finish="length",
            usage=Usage(input=10, cache_read=3, output=5),
            notes=("panel: 2 of 3", {"vote": 1}),
            losses=("top_k",),
        )
    )
    run = await ledger.run("run-1")
    assert run is not None
    assert (run.model, run.flow, run.protocol, run.stream) == (
        "careful",
        "fusion@1",
        "messages",
        True,
    )
    assert (run.status, run.error_kind, run.error_message) == ("failed", "rate_limit", "slow down")
    assert run.usage == Usage(input=10, cache_read=3, output=5)
    assert run.notes == ["panel: 2 of 3", {"vote": 1}]
    assert run.losses == ["top_k"]
    assert run.started_at == NOON
    assert run.started_at.utcoffset() == timedelta(0)
    assert run.duration_ms == 3000
    assert [call.step for call in run.calls] == ["draft", "final"]
    assert (run.calls[0].first_token_ms, run.calls[0].duration_ms) == (120, 900)
    assert run.calls[0].usage == Usage(input=10, output=4)
    assert run.spent == Usage(input=20, output=8)
    assert run.cost == Cost(0.25, 1)
    (listed,) = await ledger.runs()
    assert (listed.cost, listed.calls) == (Cost(0.25, 1), [])


async def test_times_of_another_zone_are_the_same_moment(ledger: Ledger) -> None:
    """A time is a moment; the zone it was given in does not shift it."""
    east = timezone(timedelta(hours=5))
    ledger.record(RunStarted("r", "m", "f@1", "chat", False, None, NOON.astimezone(east)))
    run = await ledger.run("r")
    assert run is not None
    assert run.started_at == NOON


async def test_what_was_recorded_survives_the_close(urls: StoreUrls) -> None:
    """Close writes what is still queued."""
    async with Ledger.open(urls.database) as ledger:
        for number in range(500):
            ledger.record(started(f"run-{number}", number))
    async with Ledger.open(urls.database) as ledger:
        assert len(await ledger.runs(limit=1000)) == 500


async def test_entries_may_come_from_any_thread(ledger: Ledger) -> None:
    """Recording is safe from activities in threads, and loses nothing."""

    def record_hundred(number: int) -> None:
        for i in range(100):
            ledger.record(started(f"{number}-{i}"))

    threads = [threading.Thread(target=record_hundred, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(await ledger.runs(limit=1000)) == 800
    assert ledger.lost == 0


async def test_a_run_that_ended_never_changes(ledger: Ledger) -> None:
    """Entries recorded again after a crash neither reopen a run nor move its end."""
    ledger.record(started("run-1"))
    ledger.record(ended("run-1"))
    await ledger.flush()
    ledger.record(started("run-1", second=60))
    ledger.record(RunEnded("run-1", "failed", NOON + timedelta(seconds=60)))
    run = await ledger.run("run-1")
    assert run is not None
    assert (run.status, run.started_at, run.duration_ms) == ("completed", NOON, 3000)


async def test_a_list_of_runs_can_be_read_page_by_page(ledger: Ledger) -> None:
    """Pages neither skip nor repeat a run, even when several started at the same moment."""
    for number in range(7):
        ledger.record(started(f"run-{number}", second=number // 3))
    seen: list[str] = []
    while page := await ledger.runs(limit=2, before=seen[-1] if seen else None):
        seen += [run.run_id for run in page]
    assert seen == [f"run-{number}" for number in reversed(range(7))]
    with pytest.raises(ModelError, match="'run-9'"):
        await ledger.runs(before="run-9")


async def test_a_list_of_runs_can_be_narrowed(ledger: Ledger) -> None:
    """Status and model narrow the list, together too."""
    ledger.record(started("a", model="one"))
    ledger.record(started("b", model="two"))
    ledger.record(started("c", model="two"))
    ledger.record(ended("c"))
    assert [run.run_id for run in await ledger.runs(model="two")] == ["c", "b"]
    assert [run.run_id for run in await ledger.runs(model="two", status="running")] == ["b"]


async def test_a_run_is_found_by_the_beginning_of_its_id(ledger: Ledger) -> None:
    """A prefix will do while it is unique; wildcards of the database are ordinary letters."""
    for run_id in ("abc-1", "abd-2", "a%"):
        ledger.record(started(run_id))
    assert (run := await ledger.run("abc")) is not None
    assert run.run_id == "abc-1"
    assert await ledger.run("zzz") is None
    assert await ledger.run("%") is None
    assert await ledger.run("") is None
    with pytest.raises(ModelError, match=r"'abc-1', 'abd-2'.*more of the id"):
        await ledger.run("ab")


async def test_one_bad_entry_does_not_take_others_with_it(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry the database refuses is dropped and logged; its batch is kept."""
    naive = NOON.replace(tzinfo=None)
    ledger.record(started("good-1"))
    ledger.record(RunStarted("naive", "m", "f@1", "chat", False, None, naive))
    ledger.record(started("good-2"))
    assert {run.run_id for run in await ledger.runs()} == {"good-1", "good-2"}
    assert ledger.lost == 1
    assert "no time zone" in caplog.text


async def test_an_absurd_number_of_a_provider_is_unknown(ledger: Ledger) -> None:
    """A count that no column can hold costs that count alone, not the run's end."""
    ledger.record(started("run-1"))
    ledger.record(RunEnded("run-1", "completed", NOON, usage=Usage(input=2**70, output=-1)))
    run = await ledger.run("run-1")
    assert run is not None
    assert run.status == "completed"
    assert run.usage == Usage()


@pytest.mark.parametrize("urls", ["sqlite"], indirect=True)
async def test_an_outage_delays_entries_and_loses_none(
    ledger: Ledger, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the database fails, recording goes on; once it works again, all is written."""
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "next attempt" in record.getMessage():
                loop.call_soon_threadsafe(failed.set)

    watch = Watch()
    log = logging.getLogger("polyvox.activities.storage.write_queue")
    log.addHandler(watch)
    try:
        other = sqlite3.connect(file)
        other.execute("ALTER TABLE calls RENAME TO away")
        ledger.record(started("run-1"))
        ledger.record(called("run-1", "main"))
        await asyncio.wait_for(failed.wait(), 10)
        ledger.record(ended("run-1"))
        other.execute("ALTER TABLE away RENAME TO calls")
        other.close()
    finally:
        log.removeHandler(watch)
    run = await ledger.run("run-1")
    assert run is not None
    assert run.status == "completed"
    assert len(run.calls) == 1
    assert ledger.lost == 0
    assert "no such table" in caplog.text


def test_a_full_queue_gives_up_its_oldest_entries(caplog: pytest.LogCaptureFixture) -> None:
    """Memory is bounded: past the limit the oldest give way, counted and logged."""
    written: list[int] = []
    writing, go_on = threading.Event(), threading.Event()

    def write(batch: Sequence[int]) -> None:
        writing.set()
        assert go_on.wait(10)
        written.extend(batch)

    queue: WriteQueue[int] = WriteQueue(write, "ledger", limit=3, batch=1, interval_s=0)
    queue.put(0)
    assert writing.wait(10)
    for number in range(1, 6):
        queue.put(number)
    go_on.set()
    queue.close(timeout_s=10)
    assert written == [0, 3, 4, 5]
    assert queue.dropped == 2
    assert "lost 1 entries so far" in caplog.text
    assert "2 entries were lost" in caplog.text


async def test_a_closed_ledger_refuses_quietly(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry that comes too late is logged, and still fails nobody."""
    ledger = Ledger.open(file_url(file))
    await ledger.close()
    ledger.record(started("late"))
    assert ledger.lost == 1
    assert "closed" in caplog.text


async def test_a_provider_that_answers_with_a_book_does_not_fill_the_ledger(
    ledger: Ledger,
) -> None:
    """Error messages are cut."""
    ledger.record(started("run-1"))
    ledger.record(
        RunEnded("run-1", "failed", NOON, error_kind="bad_stream", error_message="x" * 10_000)
    )
    run = await ledger.run("run-1")
    assert run is not None
    assert run.error_message is not None
    assert len(run.error_message) == MESSAGE_LIMIT


@pytest.mark.parametrize("urls", ["sqlite"], indirect=True)
async def test_only_the_hash_of_a_secret_is_stored(ledger: Ledger, file: Path) -> None:
    """Nobody who reads the database can use the keys in it."""
    key_id, secret = await ledger.create_key("laptop")
    assert secret.startswith("pvx-")
    assert len(secret) == 36
    assert await ledger.find_key(secret) == key_id
    assert await ledger.find_key(secret + "x") is None
    stored = b"".join(part.read_bytes() for part in file.parent.iterdir())
    assert key_id.encode() in stored
    assert secret[4:].encode() not in stored


async def test_a_key_given_twice_is_one_key(ledger: Ledger) -> None:
    """Every start adds the operator's own key; it stays the same one."""
    first = await ledger.add_key("test-key", "first")
    assert await ledger.add_key("test-key", "again") == first
    assert [key.name for key in await ledger.list_keys()] == ["first"]


async def test_a_revoked_key_dies_within_a_second(urls: StoreUrls) -> None:
    """A key that another process revokes is refused once the remembered answer is stale."""
    now = [0.0]
    async with (
        Ledger.open(urls.database, clock=lambda: now[0]) as server,
        Ledger.open(urls.database) as other,
    ):
        key_id = await server.add_key("test-key", "shared")
        assert await server.find_key("test-key") == key_id
        assert (await other.revoke_key(key_id)).revoked_at is not None
        now[0] = FRESH_S / 2
        assert await server.find_key("test-key") == key_id
        now[0] = FRESH_S
        assert await server.find_key("test-key") is None


async def test_a_new_key_opens_within_a_second(urls: StoreUrls) -> None:
    """A refusal is not remembered for longer than an acceptance."""
    now = [0.0]
    async with (
        Ledger.open(urls.database, clock=lambda: now[0]) as server,
        Ledger.open(urls.database) as other,
    ):
        assert await server.find_key("test-key") is None
        key_id = await other.add_key("test-key", "new")
        now[0] = FRESH_S
        assert await server.find_key("test-key") == key_id


async def test_a_revoked_secret_cannot_come_back(ledger: Ledger) -> None:
    """Revoking is final, and doing it twice changes nothing."""
    key_id = await ledger.add_key("test-key", "lost laptop")
    revoked = await ledger.revoke_key(key_id)
    assert await ledger.revoke_key(key_id) == revoked
    assert await ledger.find_key("test-key") is None
    with pytest.raises(ModelError, match="Choose another secret"):
        await ledger.add_key("test-key", "found again")
    with pytest.raises(ModelError, match="polyvox keys list"):
        await ledger.revoke_key("key_unknown")


@pytest.mark.parametrize("urls", ["sqlite"], indirect=True)
async def test_a_database_that_cannot_be_read_is_a_typed_failure(
    ledger: Ledger, file: Path
) -> None:
    """A read that fails says so in a way the gateway can render; another try may help."""
    other = sqlite3.connect(file)
    other.execute("DROP TABLE keys")
    other.close()
    with pytest.raises(ModelError, match=r"cannot be read: no such table") as caught:
        await ledger.find_key("test-key")
    assert caught.value.kind == "overloaded"
