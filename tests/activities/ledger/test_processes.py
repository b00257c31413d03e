"""The register of processes: who lives, who died, and who cannot be judged."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, update

from polyvox.activities.ledger.processes import DEAD_S, JUDGING_S, Processes, ProcessRow
from polyvox.activities.storage.database import file_url, open_database
from polyvox.workflows.errors import ModelError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(file_url(tmp_path / "polyvox.db"))
    yield engine
    engine.dispose()


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def registered(database: Engine, clock: Clock, process_id: str, **options: object) -> Processes:
    """Return a process whose writes the test makes."""
    return Processes(
        database,
        version="1",
        process_id=process_id,
        see_s=3600,
        clock=clock,
        **options,  # type: ignore[arg-type]
    )


def silence(database: Engine, process_id: str, seconds: float = DEAD_S + 1) -> None:
    """Let a process have been silent for ``seconds``."""
    with Session(database) as session:
        seen_at = datetime.now(UTC) - timedelta(seconds=seconds)
        rows = update(ProcessRow).where(col(ProcessRow.process_id) == process_id)
        session.connection().execute(rows.values(seen_at=seen_at))
        session.commit()


async def test_a_process_is_found_with_its_address_until_it_leaves(database: Engine) -> None:
    clock = Clock()
    first = registered(database, clock, "p_1", address="127.0.0.1:4000")
    second = registered(database, clock, "p_2", role="gateway")
    await first.register()
    await second.register()
    assert [(each.process_id, each.role) for each in await first.living()] == [
        ("p_1", "replica"),
        ("p_2", "gateway"),
    ]
    assert await second.address_of("p_1") == "127.0.0.1:4000"
    assert await first.address_of("p_2") is None
    await first.leave()
    clock.now += 2
    assert [each.process_id for each in await second.living()] == ["p_2"]
    assert await second.gone(["p_1", "p_2"]) == {"p_1"}
    await second.leave()


async def test_a_silent_process_is_dead_and_comes_back_by_itself(database: Engine) -> None:
    clock = Clock()
    judge, stopped = registered(database, clock, "p_1"), registered(database, clock, "p_2")
    await judge.register()
    await stopped.register()
    silence(database, "p_2")
    clock.now += JUDGING_S
    await judge.see()
    assert [each.process_id for each in await judge.living()] == ["p_1"]
    assert await judge.dead() == ["p_2"]
    await judge.forget(["p_2"])
    assert await judge.dead() == []
    await stopped.see()
    clock.now += 2
    assert await judge.gone(["p_2"]) == set()
    await judge.leave()
    await stopped.leave()


async def test_nobody_is_judged_just_after_the_database_was_away(database: Engine) -> None:
    """All processes were silent then, and each will write as soon as it can."""
    clock = Clock()
    judge, other = registered(database, clock, "p_1"), registered(database, clock, "p_2")
    await judge.register()
    await other.register()
    silence(database, "p_2")
    assert await judge.dead() == []
    assert await judge.gone(["p_2"]) == set()
    await other.see()
    clock.now += JUDGING_S
    await judge.see()
    assert await judge.dead() == []
    clock.now += 8000  # no write succeeded for so long
    silence(database, "p_2")
    await judge.see()
    assert await judge.dead() == []
    clock.now += JUDGING_S
    await judge.see()
    assert await judge.dead() == ["p_2"]
    await judge.leave()
    await other.leave()


async def test_the_only_process_knows_at_once_that_its_predecessor_is_dead(
    database: Engine,
) -> None:
    before = registered(database, Clock(), "p_1")
    await before.register()
    after = registered(database, Clock(), "p_2", alone=True)
    await after.register()
    assert await after.gone(["p_1"]) == {"p_1"}
    await after.leave()
    await before.leave()


async def test_a_register_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    database = open_database(file_url(tmp_path / "polyvox.db"))
    process = registered(database, Clock(), "p_1")
    await process.register()
    with sqlite3.connect(tmp_path / "polyvox.db") as connection:
        connection.execute("DROP TABLE processes")
    with pytest.raises(ModelError, match="register of processes"):
        await process.living()
    await process.leave()
    database.dispose()
