"""The content-addressed store: compressed blobs by their SHA-256, each written once.

``BlobStore`` is what every implementation offers; they are in ``backends``. A put is durable when
it returns. It also renews ``stored_at`` of the blobs that it finds stored, if that is older than
RENEWED_S: a collection of garbage deletes only blobs that nothing has put for much longer.

Errors of a store are ModelErrors, so that clients get them in their protocol.
"""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import zstandard

from polyvox.workflows.errors import ModelError

R = TypeVar("R")

RENEWED_S = 6 * 3600
"""A put renews ``stored_at`` of a known blob if it is older."""

RETRY_S = 5.0

_LEVEL = 1
"""Level 1 compresses 800 KB of text in about 2 ms; higher levels would delay the first token."""


def digest_of(body: bytes) -> str:
    """Return the address of ``body``: its SHA-256 in hex."""
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class BlobFacts:
    """A stored blob: its digest, the sizes of its body and of what is stored in bytes, and the
    time of its last put in seconds since the epoch, by the store's clock."""

    digest: str
    size: int
    stored: int
    stored_at: int


class BlobStore(ABC):
    """Blobs by digest. They can be read in any thread, also in a workflow's.

    ``writers`` is the number of threads that write.
    """

    def __init__(self, writers: int = 1) -> None:
        self._writers = ThreadPoolExecutor(writers, "blobs")

    async def on_writer(self, work: Callable[[], R]) -> R:
        """Run ``work`` (hashing, compressing, ``put``) on a writer thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writers, work)

    @abstractmethod
    def put(self, blobs: Mapping[str, bytes]) -> None:
        """Store bodies by digest, durable on return; known ones are not written again.

        Raises ModelError("overloaded") if the store cannot be written.
        """

    @abstractmethod
    def find(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return the bodies of those ``digests`` that are stored.

        Raises ModelError("overloaded") if the store cannot be read.
        """

    def get(self, digest: str) -> bytes:
        """Return a body.

        Raises ModelError("not_found") if it is not stored, ModelError("overloaded") if the store
        cannot be read.
        """
        return self.get_all([digest])[digest]

    def get_all(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return the bodies of all ``digests``, with few round trips. Raises what ``get`` does."""
        asked = list(digests)
        found = self.find(asked)
        for digest in asked:
            if digest not in found:
                raise missing_blob(digest)
        return found

    @abstractmethod
    def missing(self, digests: Iterable[str]) -> set[str]:
        """Return the ``digests`` that are not stored."""

    @abstractmethod
    def stored_bytes(self) -> int:
        """Return the compressed size of all bodies in bytes."""

    @abstractmethod
    def now(self) -> int:
        """Return the time by the clock of ``stored_at``, in seconds since the epoch."""

    @abstractmethod
    def listed(self, after: str = "", limit: int = 1000) -> list[BlobFacts]:
        """Return up to ``limit`` blobs in the order of their digests, from behind ``after`` on."""

    @abstractmethod
    def remove(self, digests: Iterable[str], before: int) -> int:
        """Delete those ``digests`` that were last put before that time; return how many.

        One short transaction: a put at the same time either renews a blob, and it stays, or stores
        it again.
        """

    @abstractmethod
    def mistake(self) -> str | None:
        """Return why the store cannot be written now, None if it can. Blocks."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The store's name for operators, without credentials."""

    def close(self) -> None:
        """Finish pending writes and release connections."""
        self._writers.shutdown(wait=True)


def compressed(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(body)


def decompressed(stored: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(stored)


def missing_blob(digest: str) -> ModelError:
    return ModelError(
        "not_found",
        f"Stored content that this refers to is missing on the server (blob {digest[:12]}). "
        "Send the whole conversation instead of referring to an earlier one.",
    )


def unusable_blobs(done: str, why: object, check: str) -> ModelError:
    """Return the error for a store that cannot be ``done`` (written, read) now."""
    why = " ".join(str(why).split())
    return ModelError(
        "overloaded",
        f"The server's blob store cannot be {done} ({why}). Its operator must check {check}.",
        retry_after_s=RETRY_S,
    )
