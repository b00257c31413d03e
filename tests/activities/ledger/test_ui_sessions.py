"""Tickets and sessions of the Web UI's door: once, for a while, and no longer than their key."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.ui_sessions import SESSION_LIFE, TICKET_LIFE, UiSessions
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.database import open_database

MOMENT = timedelta(seconds=1)


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest_asyncio.fixture
async def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def sessions(urls: StoreUrls, clock: Clock) -> AsyncIterator[UiSessions]:
    database = open_database(urls.database)
    yield UiSessions(database, clock)
    database.dispose()


async def test_of_many_who_use_a_ticket_at_once_one_enters(sessions: UiSessions) -> None:
    """Also when they come within the same moment."""
    ticket = sessions.issue_ticket("namespaces")
    entered = await asyncio.gather(*(sessions.enter(ticket) for _ in range(10)))
    (one,) = filter(None, entered)
    assert one.target == "namespaces"
    assert await sessions.is_open(one.session)


async def test_a_ticket_ends_after_ten_minutes(sessions: UiSessions, clock: Clock) -> None:
    """A link in an old log opens nothing."""
    early, late = sessions.issue_ticket(), sessions.issue_ticket()
    clock.now += TICKET_LIFE - MOMENT
    assert await sessions.enter(early) is not None
    clock.now += MOMENT
    assert await sessions.enter(late) is None


async def test_a_session_lasts_for_twelve_hours_from_its_last_use(
    sessions: UiSessions, clock: Clock
) -> None:
    """Who works with it stays in; who leaves is out."""
    entered = await sessions.enter(sessions.issue_ticket())
    assert entered is not None
    for _ in range(3):
        clock.now += SESSION_LIFE - MOMENT
        assert await sessions.is_open(entered.session)
    clock.now += SESSION_LIFE
    assert not await sessions.is_open(entered.session)


async def test_a_session_ends_with_its_key(urls: StoreUrls, sessions: UiSessions) -> None:
    """One of the data folder goes on."""
    async with Ledger.open(urls.database) as ledger:
        key_id, _ = await ledger.create_key("operator", "admin")
        session = await sessions.open(key_id)
        entered = await sessions.enter(sessions.issue_ticket())
        assert entered is not None
        assert await sessions.is_open(session)
        await ledger.revoke_key(key_id)
    assert not await sessions.is_open(session)
    assert await sessions.is_open(entered.session)


@pytest.mark.parametrize("urls", ["sqlite"], indirect=True)
async def test_the_database_holds_no_ticket_and_no_session(
    tmp_path: Path, sessions: UiSessions
) -> None:
    """Who reads a backup of it gets in nowhere."""
    unused, ticket = sessions.issue_ticket(), sessions.issue_ticket()
    entered = await sessions.enter(ticket)
    assert entered is not None
    with sqlite3.connect(tmp_path / "polyvox.db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert "ui_sessions" in dump
    assert not any(secret in dump for secret in (unused, ticket, entered.session))
