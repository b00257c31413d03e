"""Limits on the concurrent requests of one key, and of all keys together.

Two things are counted: requests, and the bytes of large requests, which stay in memory until their
answer is complete. A request takes its share while it is read and releases it when it ends.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from polyvox.workflows.errors import ModelError

T = TypeVar("T")

LARGE_BYTES = 256 * 1024
"""A larger body is counted, and parsed in a separate thread."""

_MIB = 1024 * 1024
_LEAST_HELD = 512 * _MIB
_SHARE = "polyvox.share"


class Admission:
    """Counts the requests in progress. Used on the event loop only."""

    def __init__(self, *, requests_per_key: int, max_body_mib: int) -> None:
        self.requests_per_key = requests_per_key
        self.most_held = max(_LEAST_HELD, 8 * max_body_mib * _MIB)
        self.requests: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.held_in_all = 0
        # One thread: several would take as long in total, and hold the memory of all at once.
        self.reading = ThreadPoolExecutor(1, "large-bodies")

    def close(self) -> None:
        self.reading.shutdown(wait=False, cancel_futures=True)


class Share:
    """The requests and bytes that are counted for one request."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._key_id = ""
        self._requests = 0
        self._bytes = 0

    @property
    def is_large(self) -> bool:
        return self._bytes > 0

    def take(self, key_id: str, requests: int = 1) -> None:
        """Count ``requests`` of a key. Raises ModelError("rate_limit") if it has too many."""
        admission = self._admission
        if admission.requests[key_id] + requests > admission.requests_per_key:
            raise ModelError(
                "rate_limit",
                f"Your key has {admission.requests[key_id]} requests in progress; at most "
                f"{admission.requests_per_key} are allowed. Try again when one has ended, or raise "
                "server.max_requests_per_key in polyvox.toml.",
                retry_after_s=1,
            )
        self._key_id = key_id
        self._requests += requests
        admission.requests[key_id] += requests

    def hold(self, size: int) -> None:
        """Count ``size`` more bytes of a large body; its key is known.

        Raises ModelError("overloaded") if the server, or the key with half of it, holds too much.
        """
        admission = self._admission
        most = admission.most_held
        held, in_all = admission.held[self._key_id] + size, admission.held_in_all + size
        if held > most // 2 or in_all > most:
            whose = "Your key has" if held > most // 2 else "The server has"
            share = most // 2 if held > most // 2 else most
            raise ModelError(
                "overloaded",
                f"{whose} {share // _MIB} MiB of large requests in progress, which is the limit. "
                "Try again when one has ended.",
                retry_after_s=2,
            )
        self._bytes += size
        admission.held[self._key_id] += size
        admission.held_in_all += size

    async def work(self, task: Callable[[], T], *, large: bool = False) -> T:
        """Return the result of ``task``, which runs in the thread if the request is large."""
        if not (large or self.is_large):
            return task()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._admission.reading, task)

    def another(self, key_id: str) -> "Share":
        """Return an empty share, for one of several requests of ``key_id``."""
        other = Share(self._admission)
        other._key_id = key_id
        return other

    def handed_over(self) -> "Share":
        """Move all of this share into a new one, for a task that outlives the request."""
        other = self.another(self._key_id)
        other._requests, self._requests = self._requests, 0
        other._bytes, self._bytes = self._bytes, 0
        return other

    def release(self) -> None:
        admission, key_id = self._admission, self._key_id
        for counter, taken in ((admission.requests, self._requests), (admission.held, self._bytes)):
            counter[key_id] -= taken
            if counter[key_id] <= 0:
                del counter[key_id]
        admission.held_in_all -= self._bytes
        self._requests = self._bytes = 0


class WithShares:
    """ASGI middleware that gives each request its share, and releases it at the end."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        share = scope[_SHARE] = Share(self._admission)
        try:
            await self._app(scope, receive, send)
        finally:
            share.release()


def share_of(request: HTTPConnection) -> Share:
    """Return the share of a request that passed ``WithShares``."""
    share: Share = request.scope[_SHARE]
    return share
