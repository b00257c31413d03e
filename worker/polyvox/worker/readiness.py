"""Whether the stores of a running server can be written: for ``/readyz``."""

import asyncio
import time
from collections.abc import Callable

from sqlalchemy import Engine as Database

from polyvox.activities.storage.blobs import BlobStore
from polyvox.activities.storage.database import database_mistake
from polyvox.worker.engine.engine import Engine
from polyvox.worker.engine.trouble import storage_trouble

OK = "ok"
_FRESH_S = 1.0

_ANSWER_S = 2.0
"""A store whose check takes longer cannot be used."""


class Stores:
    """The stores of a process. Anybody may ask, so they are examined once a second at most."""

    def __init__(self, database: Database, blobs: BlobStore, engine: Engine) -> None:
        self._checks: dict[str, Callable[[], str | None]] = {
            _shown(database): lambda: database_mistake(database),
            "blobs" if "://" in blobs.name else blobs.name: blobs.mistake,
        }
        own = engine.database
        if own is not None:
            self._checks[f"engine/{own.name}"] = lambda: (storage_trouble(own) or (None,))[0]
        self._examining = asyncio.Lock()
        self._examined_at = float("-inf")
        self._states: dict[str, str] = {}
        self._running: dict[str, asyncio.Future[str | None]] = {}

    async def states(self) -> dict[str, str]:
        """Return by the name of each store ``ok``, or why it cannot be written."""
        async with self._examining:
            if time.monotonic() - self._examined_at > _FRESH_S:
                states = await asyncio.gather(*(self._state(name) for name in self._checks))
                self._states = dict(zip(self._checks, states, strict=True))
                self._examined_at = time.monotonic()
            return self._states

    async def _state(self, name: str) -> str:
        check = self._running.get(name)
        if check is None or check.done():
            # A check that hangs is awaited again the next time, not started again.
            check = asyncio.ensure_future(asyncio.to_thread(self._checks[name]))
            self._running[name] = check
        done, _ = await asyncio.wait([check], timeout=_ANSWER_S)
        if not done:
            return f"does not answer within {_ANSWER_S:g} s"
        return check.result() or OK


def _shown(database: Database) -> str:
    """Return the database's name for everybody: a file's name, nothing about a server."""
    is_file = database.dialect.name == "sqlite"
    return str(database.url.database).rpartition("/")[2] if is_file else "database"
