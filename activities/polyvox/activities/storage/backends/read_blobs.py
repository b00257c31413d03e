"""A blob store that remembers what was read from it."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from polyvox.activities.storage.blobs import BlobFacts, BlobStore

R = TypeVar("R")


class ReadBlobs(BlobStore):
    """Another store, of which ``read`` has every body that was read through this one."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__()
        self._store = store
        self.read: dict[str, bytes] = {}

    @property
    def name(self) -> str:
        return self._store.name

    async def on_writer(self, work: Callable[[], R]) -> R:
        return await self._store.on_writer(work)

    def put(self, blobs: Mapping[str, bytes]) -> None:
        self._store.put(blobs)

    def find(self, digests: Iterable[str]) -> dict[str, bytes]:
        found = self._store.find(digests)
        self.read |= found
        return found

    def missing(self, digests: Iterable[str]) -> set[str]:
        return self._store.missing(digests)

    def stored_bytes(self) -> int:
        return self._store.stored_bytes()

    def now(self) -> int:
        return self._store.now()

    def listed(self, after: str = "", limit: int = 1000) -> list[BlobFacts]:
        return self._store.listed(after, limit)

    def remove(self, digests: Iterable[str], before: int) -> int:
        return self._store.remove(digests, before)

    def mistake(self) -> str | None:
        return self._store.mistake()
