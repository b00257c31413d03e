"""Whether the stores of a running server can be written: for ``/readyz``."""

import asyncio
import time
from pathlib import Path

from polyvox.activities.storage.database import database_file, write_mistake
from polyvox.worker.engine.engine import Engine
from polyvox.worker.engine.trouble import storage_trouble

OK = "ok"
_FRESH_S = 1.0


class Stores:
    """The stores of a data folder. Anybody may ask, so they are examined once a second at most."""

    def __init__(self, data: Path, engine: Engine) -> None:
        self._files = (database_file(data), data / "blobs.db")
        self._engine = engine
        self._examining = asyncio.Lock()
        self._examined_at = float("-inf")
        self._states: dict[str, str] = {}

    async def states(self) -> dict[str, str]:
        """Return by the name of each store ``ok``, or why it cannot be written."""
        async with self._examining:
            if time.monotonic() - self._examined_at > _FRESH_S:
                self._states = await asyncio.to_thread(self._examine)
                self._examined_at = time.monotonic()
            return self._states

    def _examine(self) -> dict[str, str]:
        states = {file.name: write_mistake(file) or OK for file in self._files}
        database = self._engine.database
        if database is not None:
            trouble = storage_trouble(database)
            states[f"engine/{database.name}"] = trouble[0] if trouble else OK
        return states
