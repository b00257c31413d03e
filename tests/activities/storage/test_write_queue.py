"""What a queue logs when its database cannot be written."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from polyvox.activities.storage.write_queue import WriteQueue

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
