"""Requests that are sent again: each finds its run instead of starting another.

A request with an idempotency key is answered by the run that the key stands for, whoever else waits
for it. A request without one is answered by an earlier run of the same body and API key only if
that run's client is gone, because clients also ask the same several times on purpose: each run is
adopted by one request. The client is gone if the process that held its connection has ended, or if
it disconnected although the answer was complete. Clients of the official SDKs mark a request that
they send again; agents do not, so at the start of a process all requests may be that.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from polyvox.activities.ledger.requests import Claim, Requests
from polyvox.activities.ledger.tables import RunRow
from polyvox.worker.runs.handle import RunHandle
from polyvox.worker.runs.listeners import Listeners
from polyvox.workflows.errors import FAULTS, ErrorKind, ModelError

_START_S = 5.0
"""The time from a request's claim to the start of its run in the engine."""

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class SentRequest:
    """What identifies a request.

    ``digest`` is that of its path, body and the headers that matter; ``is_retry`` says that the
    client marked it as sent again.
    """

    key_id: str
    digest: str
    idempotency_key: str | None = None
    is_retry: bool = False

    def of_choice(self, index: int) -> "SentRequest":
        """Return what identifies one of several answers to this request."""
        key = self.idempotency_key
        return replace(
            self,
            digest=f"{self.digest}-{index}",
            idempotency_key=None if key is None else f"{key} {index}",
        )


class Retries:
    """Finds the runs of requests. Used on the event loop only.

    ``flush`` writes what this process has recorded to the database.
    ``window_s`` is how long after its end a run may answer a request without an idempotency key;
    0: never, not while it runs either.
    """

    def __init__(
        self,
        requests: Requests,
        find: Callable[[str], RunHandle],
        listeners: Listeners,
        flush: Callable[[], Awaitable[None]],
        *,
        window_s: float,
    ) -> None:
        self._requests = requests
        self._find = find
        self._flush = flush
        self._process_id = listeners.process_id
        self._is_gone = listeners.is_gone
        self._window_s = window_s
        self._orphans: set[tuple[str | None, str | None]] = set()
        self._orphans_until = 0.0

    async def load(self) -> None:
        """Look for runs whose client is gone: requests without a mark may adopt these."""
        if self._window_s <= 0:
            return
        runs = await self._requests.unanswered(self._since())
        gone = {each: await self._is_gone(each) for each in {run.listener for run in runs}}
        self._orphans = {(run.key_id, run.request_digest) for run in runs if gone[run.listener]}
        self._orphans_until = time.monotonic() + self._window_s

    async def join(self, sent: SentRequest, run_id: str) -> str:
        """Return the id of the run that answers ``sent``; ``run_id`` if that is to be started.

        Raises ModelError("unprocessable") if the idempotency key belongs to another request.
        """
        if sent.idempotency_key is not None:
            return await self._of_key(sent, sent.idempotency_key, run_id)
        if self._window_s > 0 and (sent.is_retry or self._may_be_orphan(sent)):
            return await self._adopted(sent) or run_id
        return run_id

    def _may_be_orphan(self, sent: SentRequest) -> bool:
        if self._orphans and time.monotonic() > self._orphans_until:
            self._orphans.clear()
        return (sent.key_id, sent.digest) in self._orphans

    async def _of_key(self, sent: SentRequest, key: str, run_id: str) -> str:
        instead_of = ""
        while True:
            claim = await self._requests.claim(sent.key_id, key, sent.digest, run_id, instead_of)
            if claim.run_id == run_id:
                return run_id
            if claim.request_digest != sent.digest:
                raise ModelError(
                    "unprocessable",
                    "This Idempotency-Key was sent with another request. Use a new key for each "
                    "request; send a request again with the same body and headers.",
                    code="idempotency_key_reused",
                )
            if await self._answers(claim):
                return claim.run_id
            instead_of = claim.run_id

    async def _answers(self, claim: Claim) -> bool:
        """Return whether the run of ``claim`` can answer the request, or is doing so.

        One that was cancelled or failed for a passing reason cannot.
        """
        run = await self._begun(claim)
        if run is None:
            return False
        if run.status == "failed":
            kinds: dict[str, ErrorKind] = {kind: kind for kind in FAULTS}
            kind = kinds.get(run.error_kind or "")
            if not run.has_workflow or kind is None or FAULTS[kind].retryable:
                return False
        return run.status != "cancelled" and await self._find(run.run_id).exists()

    async def _begun(self, claim: Claim) -> RunRow | None:
        """Return the run of ``claim`` once the engine has it, None if it never got it."""
        until = claim.claimed_at + timedelta(seconds=_START_S)
        await self._flush()  # a run that has just ended may be running in the database
        while True:
            run = await self._requests.run(claim.run_id)
            if run is not None and (
                run.status != "running" or await self._find(run.run_id).exists()
            ):
                return run
            if datetime.now(UTC) > until or (run is not None and await self._is_gone(run.listener)):
                return None
            await asyncio.sleep(_POLL_S)

    async def _adopted(self, sent: SentRequest) -> str | None:
        """Adopt a run of the same request whose client is gone, and return its id."""
        for run in await self._requests.alike(sent.key_id, sent.digest, self._since()):
            if (
                await self._is_gone(run.listener)
                and await self._find(run.run_id).exists()
                and await self._requests.adopt(run.run_id, run.listener, self._process_id)
            ):
                return run.run_id
        return None

    def _since(self) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=self._window_s)
