"""Replies of an earlier run, reused for equal calls of a rerun.

The replies are in the blob store under the digest of the request: the call's model and
conversation, but not its step or its run. A call without a recorded reply is sent to its provider
as usual.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import orjson

from polyvox.activities.storage.blobs import BlobStore, digest_of
from polyvox.workflows.boundary.calls import ModelCall
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.reply import Reply, Usage

NOTHING_SPENT = Usage(0, 0, 0, 0, 0)

_REMEMBERED_RUNS = 1000

Answers = dict[str, list[tuple[str, str]]]
"""By the digest of a request: the steps that made it, in their order, and the replies' digests."""


def request_digest(call: ModelCall) -> str:
    """Return the digest of the request that ``call`` makes."""
    asked = [call.model, bool(call.owner), dump(call.conversation)]
    return hashlib.sha256(orjson.dumps(asked)).hexdigest()


def write_recorded(store: BlobStore, answered: Iterable[tuple[ModelCall, Reply]]) -> str:
    """Store the replies to calls in their order, durably; return the digest of the list."""
    answers: Answers = {}
    blobs: dict[str, bytes] = {}
    for call, reply in answered:
        body = orjson.dumps(dump(reply))
        blobs[digest_of(body)] = body
        answers.setdefault(request_digest(call), []).append((call.step, digest_of(body)))
    listed = orjson.dumps(answers)
    blobs[digest_of(listed)] = listed
    store.put(blobs)
    return digest_of(listed)


class Recorded:
    """Finds recorded replies. Used on the event loop only."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._answers = lru_cache(maxsize=16)(self._read)
        self._served: dict[str, Counter[tuple[str, str]]] = {}

    def find(self, call: ModelCall) -> Reply | None:
        """Return the recorded reply to ``call`` with zero cost, or None.

        A step that made the same request several times gets its replies one after the other.
        """
        asked = request_digest(call)
        found = self._answers(call.recorded).get(asked, [])
        if not found:
            return None
        own = [address for step, address in found if step == call.step]
        served = self._served.setdefault(call.run_id, Counter())
        while len(self._served) > _REMEMBERED_RUNS:
            del self._served[next(iter(self._served))]
        number = served[asked, call.step]
        served[asked, call.step] += 1
        addresses = own or [address for _, address in found]
        if number >= len(addresses):
            return None
        reply: Reply = load(orjson.loads(self._store.get(addresses[number])))
        return replace(reply, usage=NOTHING_SPENT, cost_usd=0.0)

    def _read(self, digest: str) -> Answers:
        answers: Answers = orjson.loads(self._store.get(digest))
        return answers
