"""Access to Temporal's Web UI: sessions, and tickets that open a session once.

Both are random secrets whose hashes are stored in the ledger's database, so that a command can
create a ticket for a running server. A session belongs to an admin's key and ends with it. One that
was opened by a ticket belongs to no key, because only the data folder's owner can create tickets.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete
from sqlmodel import Field, Session, SQLModel, col

from polyvox.activities.ledger.api_keys import digest
from polyvox.activities.ledger.tables import KeyRow
from polyvox.activities.storage.database import UtcDateTime

TICKET_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(hours=12)
# A page of the Web UI makes a hundred requests; not each of them should write.
_EXTEND_AFTER = timedelta(minutes=5)


class UiTicketRow(SQLModel, table=True):
    __tablename__ = "ui_tickets"

    sha256: str = Field(primary_key=True)
    target: str
    expires_at: datetime = Field(sa_type=UtcDateTime)


class UiSessionRow(SQLModel, table=True):
    """``key_id`` is None for a session opened by a ticket."""

    __tablename__ = "ui_sessions"

    sha256: str = Field(primary_key=True)
    key_id: str | None = None
    expires_at: datetime = Field(sa_type=UtcDateTime)


@dataclass(frozen=True, slots=True)
class Entered:
    """A redeemed ticket: the new session's secret, and the page the ticket was made for."""

    session: str
    target: str


def _now() -> datetime:
    return datetime.now(UTC)


class UiSessions:
    """Tickets and sessions in the ledger's database. ``clock`` returns the time in UTC."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime] = _now) -> None:
        self._engine = engine
        self._clock = clock

    def issue_ticket(self, target: str = "") -> str:
        """Return a ticket for ``target``, a path below the Web UI; valid once, for ten minutes.

        Blocks for some milliseconds.
        """
        ticket = secrets.token_urlsafe(32)
        expires_at = self._clock() + TICKET_LIFE
        self._add(UiTicketRow(sha256=digest(ticket), target=target, expires_at=expires_at))
        return ticket

    async def enter(self, ticket: str) -> Entered | None:
        """Redeem a ticket for a new session; None if it is unknown, used or expired."""
        return await asyncio.to_thread(self._enter, ticket)

    async def open(self, key_id: str) -> str:
        """Open a session that belongs to a key; return its secret."""
        return await asyncio.to_thread(self._open, key_id)

    async def is_open(self, secret: str) -> bool:
        """Return whether the session is valid, and extend it to twelve hours from now.

        It ends when its key is revoked or loses the admin role.
        """
        return await asyncio.to_thread(self._is_open, secret)

    def _enter(self, ticket: str) -> Entered | None:
        sha256 = digest(ticket)
        with Session(self._engine) as session:
            row = session.get(UiTicketRow, sha256)
            # Of two requests at the same time, only one deletes the row.
            found = session.connection().execute(
                delete(UiTicketRow).where(
                    col(UiTicketRow.sha256) == sha256, col(UiTicketRow.expires_at) > self._clock()
                )
            )
            target = row.target if row is not None else ""
            session.commit()
            if found.rowcount != 1:
                return None
        return Entered(self._open(None), target)

    def _open(self, key_id: str | None) -> str:
        secret = secrets.token_urlsafe(32)
        expires_at = self._clock() + SESSION_LIFE
        self._add(UiSessionRow(sha256=digest(secret), key_id=key_id, expires_at=expires_at))
        return secret

    def _add(self, row: UiTicketRow | UiSessionRow) -> None:
        """Store a row, and delete those that have expired."""
        with Session(self._engine) as session:
            for table in (UiTicketRow, UiSessionRow):
                expired = col(table.expires_at) <= self._clock()
                session.connection().execute(delete(table).where(expired))
            session.add(row)
            session.commit()

    def _is_open(self, secret: str) -> bool:
        now = self._clock()
        with Session(self._engine) as session:
            row = session.get(UiSessionRow, digest(secret))
            if row is None or row.expires_at <= now:
                return False
            if row.key_id is not None:
                key = session.get(KeyRow, row.key_id)
                if key is None or key.revoked_at is not None or key.role != "admin":
                    session.delete(row)
                    session.commit()
                    return False
            if row.expires_at < now + SESSION_LIFE - _EXTEND_AFTER:
                row.expires_at = now + SESSION_LIFE
                session.add(row)
                session.commit()
            return True
