"""Ended runs are deleted when the operator does not keep them any longer."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from polyvox.activities.ledger.entries import CallEnded, RunEnded, RunStarted
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.retention import Retention, expire_runs
from polyvox.activities.storage.backends.opened_blobs import open_blobs
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.database import open_database
from polyvox.activities.storage.responses import ResponsesStore, StoredResponse

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)


async def record(ledger: Ledger, run_id: str, model: str, days: float, *, ends: bool) -> None:
    at = NOON - timedelta(days=days)
    ledger.record(RunStarted(run_id, model, "direct@1", "chat", False, "key", at))
    ledger.record(CallEnded(run_id, "answer", 1, "p", "m", "completed", at, at, call_id="1"))
    if ends:
        ledger.record(RunEnded(run_id, "completed", at))


async def test_runs_expire_with_all_that_belongs_to_them(urls: StoreUrls) -> None:
    """By age, and for single models by another age; a running run never expires."""
    engine, blobs = open_database(urls.database), open_blobs(urls)
    async with Ledger.open(urls.database) as ledger:
        await record(ledger, "run_old", "m", 31, ends=True)
        await record(ledger, "run_new", "m", 29, ends=True)
        await record(ledger, "run_open", "m", 99, ends=False)
        await record(ledger, "run_short", "short", 2, ends=True)
        await record(ledger, "run_long", "long", 99, ends=True)
        await ledger.flush()
        responses = ResponsesStore(engine, blobs, days=3650)
        for run_id in ("run_old", "run_new"):
            now = int(datetime.now(UTC).timestamp())
            responses.keep(StoredResponse(f"resp_{run_id}", "key", "m", now, "00", True))
            responses.keep_frames(f"resp_{run_id}", 0, b"frames")
        await responses.close()

        assert expire_runs(engine, Retention(), NOON) == 0
        retention = Retention(30, {"short": 1, "long": 100})
        assert expire_runs(engine, retention, NOON) == 2
        assert {run.run_id for run in await ledger.runs()} == {"run_new", "run_open", "run_long"}
    with engine.connect() as connection:
        calls = connection.execute(text("SELECT run_id FROM calls")).scalars()
        assert {*calls} == {"run_new", "run_open", "run_long"}
        for table in ("responses", "response_frames"):
            left = connection.execute(text(f"SELECT response_id FROM {table}")).scalars()
            assert {*left} == {"resp_run_new"}
    blobs.close()
    engine.dispose()


async def test_many_runs_expire_in_batches(urls: StoreUrls) -> None:
    """Each batch is a short transaction of its own."""
    engine = open_database(urls.database)
    async with Ledger.open(urls.database) as ledger:
        for number in range(250):
            await record(ledger, f"run_{number}", "m", 31, ends=True)
        await ledger.flush()
        assert expire_runs(engine, Retention(30), NOON) == 250
        assert await ledger.runs() == []
    engine.dispose()
