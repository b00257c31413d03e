"""What is durable when, and what happens when the database cannot be written."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from polyvox.activities.storage.write_queue import WriteQueue
from polyvox.workflows.errors import ModelError

PRIVATE = "a prompt that is not for the log " * 50


@pytest.mark.parametrize("full", [True, False], ids=["a full disk", "a refused value"])
async def test_the_log_has_the_reason_without_the_values(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, full: bool
) -> None:
    """The database's own message; SQLAlchemy's has the values of the statement."""
    engine = create_engine(f"sqlite:///{tmp_path / 'kept.db'}")

    def write(values: Sequence[str]) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS kept (text TEXT UNIQUE)")
            if full:
                connection.exec_driver_sql("PRAGMA max_page_count = 1")
            for value in values:
                connection.exec_driver_sql("INSERT INTO kept VALUES (?)", (value,))

    write([])
    caplog.set_level(logging.WARNING)
    queue: WriteQueue[str] = WriteQueue(write, "queue", batch=1)
    for value in (PRIVATE, PRIVATE):
        queue.put(value)
    if not full:
        await queue.flush(10)
    queue.close(0.5)
    engine.dispose()
    said = caplog.text
    assert ("disk is full" in said) == full
    assert ("UNIQUE constraint failed" in said) != full
    assert "not for the log" not in said


async def test_a_stored_value_is_written_at_once_with_all_that_wait() -> None:
    """The usual interval does not apply; what arrives during a write shares the next one."""
    written: list[list[int]] = []
    began, go_on = threading.Event(), threading.Event()

    def write(values: Sequence[int]) -> None:
        began.set()
        assert go_on.wait(10)
        written.append(list(values))

    queue: WriteQueue[int] = WriteQueue(write, "queue", interval_s=3600)
    queue.put(1)
    first = queue.store(2)
    await asyncio.to_thread(began.wait, 10)
    others = [queue.store(number) for number in (3, 4, 5)]
    assert not first.done()
    go_on.set()
    await asyncio.wait_for(asyncio.gather(first, *others), 10)
    assert written == [[1, 2], [3, 4, 5]]
    queue.close(1)


async def test_who_waits_during_an_outage_gets_the_error_and_the_value_stays() -> None:
    """The caller can fail before anything is bought; the row is written when that is possible."""
    full = threading.Event()
    full.set()
    written: list[int] = []

    def write(values: Sequence[int]) -> None:
        if full.is_set():
            raise OperationalError("INSERT", (), sqlite3.OperationalError("disk is full"))
        written.extend(values)

    queue: WriteQueue[int] = WriteQueue(write, "queue")
    for number in (1, 2):  # the second finds the outage known
        with pytest.raises(ModelError, match=r"queue cannot be written \(disk is full\)") as error:
            await queue.store(number)
        assert error.value.http_status == 503
    full.clear()
    await queue.flush(10)
    await queue.store(3)
    assert written == [1, 2, 3]
    queue.close(1)


async def test_who_waits_for_a_rejected_value_gets_an_error_and_others_do_not() -> None:
    def write(values: Sequence[int]) -> None:
        if 2 in values:
            raise ValueError("not storable")

    queue: WriteQueue[int] = WriteQueue(write, "queue", interval_s=3600)
    queue.put(2)
    rejected, accepted = queue.store(2), queue.store(3)
    with pytest.raises(ModelError, match="rejects"):
        await rejected
    await accepted
    queue.close(1)
    with pytest.raises(ModelError, match="closed"):
        await queue.store(4)
