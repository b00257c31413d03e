"""Which run answers a request, from the rows of runs in every state."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from polyvox.activities.ledger.entries import RunAnswered, RunEnded, RunStarted
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.requests import Requests
from polyvox.activities.storage.database import file_url, open_database
from polyvox.worker.runs.listeners import Listeners
from polyvox.worker.runs.retries import Retries, SentRequest
from polyvox.workflows.errors import ErrorKind, ModelError

HERE, ALIVE, DEAD = "p_here", "p_alive", "p_dead"

RETRY = SentRequest("key", "digest", is_retry=True)
PLAIN = SentRequest("key", "digest")
KEYED = SentRequest("key", "digest", idempotency_key="k1")


class Others(Listeners):
    """A register in which one process is dead."""

    def __init__(self) -> None:
        self.alone = False
        self.process_id = HERE

    async def is_gone(self, process_id: str | None) -> bool:
        return process_id in (None, DEAD)


@dataclass
class World:
    """A ledger, and an engine that has all runs but ``lost``."""

    ledger: Ledger
    retries: Retries
    lost: set[str] = field(default_factory=set)

    async def run(
        self,
        run_id: str,
        listener: str | None,
        status: str = "running",
        *,
        ended_s_ago: float = 1.0,
        kind: ErrorKind | None = None,
        digest: str = "digest",
    ) -> None:
        now = datetime.now(UTC)
        self.ledger.record(
            RunStarted(
                run_id=run_id,
                model="m",
                flow="direct@1",
                protocol="chat",
                stream=False,
                key_id="key",
                started_at=now - timedelta(seconds=1),
                listener=listener,
                request_digest=digest,
            )
        )
        if status in ("completed", "failed", "cancelled"):
            ended_at = now - timedelta(seconds=ended_s_ago)
            self.ledger.record(RunEnded(run_id, status, ended_at, error_kind=kind))  # type: ignore[arg-type]
        await self.ledger.flush()

    async def join(self, sent: SentRequest, run_id: str = "run_new") -> str:
        return await self.retries.join(sent, run_id)


@dataclass(frozen=True)
class Found:
    run_id: str
    lost: set[str]

    async def exists(self) -> bool:
        return self.run_id not in self.lost


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    url = file_url(tmp_path / "polyvox.db")
    database = open_database(url)
    lost: set[str] = set()
    requests = Requests(database)
    async with Ledger.open(url) as ledger:
        found: Any = lambda run_id: Found(run_id, lost)  # noqa: E731 - an untyped stand-in
        retries = Retries(requests, found, Others(), ledger.flush, window_s=60.0)
        yield World(ledger, retries, lost)
    database.dispose()


@pytest.mark.parametrize("status", ["running", "completed"])
@pytest.mark.parametrize("listener", [DEAD, None])
async def test_a_retry_adopts_a_run_whose_client_is_gone(
    world: World, status: str, listener: str | None
) -> None:
    await world.run("run_old", listener, status)
    assert await world.join(RETRY) == "run_old"
    assert await world.ledger.listener_of("run_old") == HERE
    assert await world.join(RETRY) == "run_new"


@pytest.mark.parametrize(
    ("listener", "status", "ended_s_ago"),
    [
        (ALIVE, "running", 0),
        (ALIVE, "completed", 1),
        (HERE, "running", 0),
        (DEAD, "failed", 1),
        (DEAD, "cancelled", 1),
        (DEAD, "completed", 61),
    ],
)
async def test_a_retry_does_not_adopt_any_other(
    world: World, listener: str, status: str, ended_s_ago: float
) -> None:
    await world.run("run_old", listener, status, ended_s_ago=ended_s_ago)
    assert await world.join(RETRY) == "run_new"


async def test_an_answer_that_has_arrived_is_not_given_again(world: World) -> None:
    """Also if its process has ended meanwhile: the same question is another request."""
    await world.run("run_old", DEAD, "completed")
    world.ledger.record(RunAnswered("run_old"))
    await world.ledger.flush()
    await world.retries.load()
    assert await world.join(RETRY) == "run_new"
    assert await world.join(PLAIN) == "run_new"


async def test_each_run_is_adopted_by_one_of_several_retries(world: World) -> None:
    """Equal requests stay as many as they were."""
    for run_id in ("run_1", "run_2"):
        await world.run(run_id, DEAD)
    joined = await asyncio.gather(*(world.join(RETRY, f"run_new{n}") for n in range(4)))
    assert {"run_1", "run_2"} < set(joined)
    assert len(set(joined)) == 4


async def test_a_run_that_the_engine_never_got_is_not_adopted(world: World) -> None:
    await world.run("run_old", DEAD)
    world.lost.add("run_old")
    assert await world.join(RETRY) == "run_new"
    assert await world.join(KEYED) == "run_new"


async def test_a_request_without_a_mark_adopts_what_was_lost_before_the_start(
    world: World,
) -> None:
    await world.run("run_old", DEAD)
    assert await world.join(PLAIN) == "run_new"
    await world.retries.load()
    await world.run("run_later", DEAD, digest="other")
    assert await world.join(PLAIN) == "run_old"
    assert await world.join(SentRequest("key", "other")) == "run_new"
    assert await world.join(SentRequest("key2", "digest")) == "run_new"


async def test_of_requests_with_one_key_the_first_starts_the_run(world: World) -> None:
    """The others wait until it has begun."""

    async def start() -> None:
        first = await world.join(KEYED, "run_1")
        assert first == "run_1"
        await world.run(first, ALIVE)

    joined, *_ = await asyncio.gather(start(), world.join(KEYED, "run_2"), world.join(KEYED, "x"))
    assert joined is None
    assert await world.join(KEYED, "run_3") == "run_1"


async def test_a_key_stands_for_one_request(world: World) -> None:
    await world.join(KEYED, "run_1")
    with pytest.raises(ModelError, match="Idempotency-Key") as refused:
        await world.join(SentRequest("key", "other", idempotency_key="k1"))
    assert refused.value.http_status == 422
    assert await world.join(SentRequest("key2", "other", idempotency_key="k1")) == "run_new"


@pytest.mark.parametrize(
    ("status", "kind", "stays"),
    [
        ("completed", None, True),
        ("failed", "invalid_request", True),
        ("failed", "overloaded", False),
        ("cancelled", "cancelled", False),
    ],
)
async def test_a_key_stands_for_a_run_that_can_answer(
    world: World, status: str, kind: ErrorKind | None, stays: bool
) -> None:
    assert await world.join(KEYED, "run_1") == "run_1"
    await world.run("run_1", ALIVE, status, kind=kind, ended_s_ago=3600)
    found = await asyncio.gather(world.join(KEYED, "run_2"), world.join(KEYED, "run_2"))
    assert list(found) == (["run_1", "run_1"] if stays else ["run_2", "run_2"])
