"""Removes the blobs that nothing refers to, while servers use the store.

A blob is removed only if nothing has put it for GRACE_S, and nothing refers to it: no row, no
history of the engine, and no blob that is in use itself. A reference that is written during the
collection is one to blobs that were put shortly before. A put renews the time of the blobs that it
finds (RENEWED_S), and a process skips a put only of what it put itself within RENEWED_S. So such
blobs are at most twice RENEWED_S old, which is half of GRACE_S: they are never removed. Decision
0033.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from polyvox.activities.storage.blobs import RENEWED_S, BlobFacts, BlobStore
from polyvox.activities.storage.collecting.references import references

GRACE_S = 4 * RENEWED_S

_READ = 200
"""The blobs that are read, and so held in memory, at once."""

_REMOVED = 200
"""The blobs of one transaction, so that writers wait for some milliseconds."""

_DIGEST = bytes.fromhex


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection found: all blobs, those in use, those that are too new to be removed, and
    those that were removed, or with a dry run would have been, with their bytes."""

    blobs: int = 0
    used: int = 0
    new: int = 0
    removed: int = 0
    removed_bytes: int = 0


def collect(
    store: BlobStore, values: Iterable[bytes], *, grace_s: int = GRACE_S, dry_run: bool = False
) -> Collected:
    """Remove every blob that is older than ``grace_s`` and that ``values`` do not lead to.

    ``values`` are bytes that may contain digests: rows and histories, read from now on. Blocks.
    """
    before = store.now() - grace_s
    used = in_use(store, values)
    total = found = new = removed = freed = 0
    for page in _pages(store):
        unused = [blob for blob in page if _DIGEST(blob.digest) not in used]
        old = [blob for blob in unused if blob.stored_at < before]
        total += len(page)
        found += len(page) - len(unused)
        new += len(unused) - len(old)
        for some in _in_groups(old, _REMOVED):
            gone = len(some)
            if not dry_run:
                gone = store.remove([blob.digest for blob in some], before)
            removed += gone
            freed += sum(blob.stored for blob in some)
    return Collected(total, found, new, removed, freed)


def in_use(store: BlobStore, values: Iterable[bytes]) -> set[bytes]:
    """Return the digests that ``values`` lead to, also through blobs.

    They may contain some that are not stored. One takes about 100 bytes of memory.
    """
    seen: set[bytes] = set()

    def unseen(bodies: Iterable[bytes]) -> Iterator[str]:
        for body in bodies:
            for digest in references(body):
                if _DIGEST(digest) not in seen:
                    seen.add(_DIGEST(digest))
                    yield digest

    reached = unseen(values)
    while some := list(islice(reached, _READ)):
        todo = some
        while todo:
            first, todo = todo[:_READ], todo[_READ:]
            todo += unseen(store.find(first).values())
    return seen


def _pages(store: BlobStore) -> Iterator[list[BlobFacts]]:
    after = ""
    while page := store.listed(after):
        yield page
        after = page[-1].digest


def _in_groups(blobs: list[BlobFacts], size: int) -> Iterator[list[BlobFacts]]:
    return (blobs[at : at + size] for at in range(0, len(blobs), size))
