"""The journal: the emitted events of a run in its Temporal Workflow Stream.

Activities that emit publish there what they pass to the relay, in entries of about a second, so
that other processes can follow the run, now or later. It is off for most runs
(``ModelCall.journal`` is False), which then costs one look-up for each read from the provider.
``watch`` turns it on for the calls of a run that this process is making.

The interceptor opens and closes the journal of each activity. It never fails one: an entry that the
engine does not take is dropped, and the Reply stays complete. ``WorkflowStreamClient`` is used
without its context manager, whose exit does not return on Python 3.11 if the last publication woke
its flusher.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.contrib.workflow_streams import WorkflowStreamClient
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from polyvox.activities.live.channel import Batch
from polyvox.activities.live.journal_entries import TOPIC, EntryWriter
from polyvox.workflows.boundary.calls import ModelCall, ProgressPart
from polyvox.workflows.conversation import Json
from polyvox.workflows.events import Event

log = logging.getLogger(__name__)

BATCH_S = 1.0
"""The longest time that events wait for others before they are published."""

BATCH_BYTES = 8 * 1024
"""Events of this size are published earlier, but not within ``_LEAST_PAUSE_S`` of others."""

MOST_ENTRIES = 2000
"""The most entries of one attempt. Temporal refuses the 10,001st signal of a run."""

MOST_BYTES = 4 * 1024 * 1024
"""The most bytes of one attempt. Temporal terminates a run with a history of 50 MB."""

MOST_PER_S = 20
"""The most entries that this process publishes in a second: each costs the engine four events and
12 ms of CPU. With more calls their entries become longer and rarer."""

_FREQUENT = 300
"""After so many entries, one is published only every ``_LONG_BATCH_S``: 2 hours are 1,740."""

_LONG_BATCH_S = 5.0
_LEAST_PAUSE_S = 0.2
_RETRY_S = 1.0
_LAST_S = 2.0
"""How long an activity waits for its last entry."""

_FINAL = {
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
}
"""The run has ended, or has too many signals: later entries would be refused too."""


class CallJournal:
    """The journal of one attempt; it is off until ``begin``."""

    def __init__(
        self, client: Client, run_id: str, call: str, attempt: int, busy: Callable[[], int]
    ) -> None:
        self.run_id = run_id
        self._busy = busy
        self._client = client
        self._call = call
        self._attempt = attempt
        self._entries: EntryWriter | None = None
        self._stream: WorkflowStreamClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._bytes = 0
        self._stopped: str | None = None
        self._over = False
        self._news = asyncio.Event()
        self._full = asyncio.Event()

    def begin(self, *, late: bool = False) -> None:
        """Publish the events from now on; with ``late`` some came before. Twice is once.

        Another attempt than the first is published at once, so that readers know that the text of
        the one before it is void.
        """
        if self._task is not None:
            return
        self._entries = EntryWriter(self._call, self._attempt, late=late)
        self._stream = WorkflowStreamClient.create(self._client, self.run_id)
        if self._attempt > 1:
            self._news.set()
            self._full.set()
        self._task = asyncio.create_task(self._publish_often())

    @property
    def is_on(self) -> bool:
        return self._task is not None

    def publish(self, events: Iterable[Event]) -> None:
        """Add events to the next entry. Does not wait or raise."""
        entries = self._entries
        if entries is None or self._stopped is not None or self._over:
            return
        before = entries.waiting_bytes
        entries.add(events)
        self._bytes += entries.waiting_bytes - before
        if self._bytes > MOST_BYTES:
            self._stopped = f"The journal of a call holds at most {MOST_BYTES // 2**20} MiB."
        self._news.set()
        if entries.waiting_bytes >= BATCH_BYTES:
            self._full.set()

    def drop(self) -> None:
        """End without publishing what is left; for an activity that is cancelled."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Publish what is left, within two seconds."""
        if self._task is None or self._entries is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task], timeout=_LAST_S)
        if self._over or not (self._news.is_set() or self._entries.sequence):
            return
        try:
            async with asyncio.timeout(_LAST_S):
                await self._publish(last=True)
        except TimeoutError:
            log.warning("Run %s: the engine did not take the journal's last entry.", self.run_id)

    async def _publish_often(self) -> None:
        assert self._entries is not None
        while not self._over:
            await self._news.wait()
            share_s = self._busy() / MOST_PER_S
            pause_s = BATCH_S if self._entries.sequence < _FREQUENT else _LONG_BATCH_S
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause_s, share_s)):
                    await self._full.wait()
            if self._entries.sequence >= MOST_ENTRIES and self._stopped is None:
                self._stopped = f"The journal of a call has at most {MOST_ENTRIES} entries."
            await self._publish()
            await asyncio.sleep(max(_LEAST_PAUSE_S, share_s / 2))

    async def _publish(self, **marks: Json) -> None:
        """Publish the next entry; retry until the engine takes it or refuses it for good."""
        assert self._entries is not None
        assert self._stream is not None
        self._news.clear()
        self._full.clear()
        if self._stopped is not None:
            marks["stopped"] = self._stopped
            self._over = True
        try:
            self._stream.topic(TOPIC).publish(self._entries.take(**marks))
            while not await self._taken(self._stream):  # noqa: ASYNC110 - no event to wait for
                await asyncio.sleep(_RETRY_S)
        except Exception:
            self._over = True
            log.exception("Run %s: its journal ends early.", self.run_id)

    async def _taken(self, stream: WorkflowStreamClient) -> bool:
        """Return whether the engine has taken all entries, or never will."""
        try:
            await stream.flush()
        except RPCError as refused:
            if refused.status not in _FINAL:
                return False
            self._over = True
            if refused.status is not RPCStatusCode.NOT_FOUND:  # the run has ended
                log.warning("Run %s: its journal ends early: %s", self.run_id, refused)
        return True


class Journal:
    """The journals of the calls that this process is making. Used on the event loop only."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, int], CallJournal] = {}

    def open(
        self, client: Client, emitting: ModelCall | ProgressPart, call: str, attempt: int
    ) -> CallJournal:
        """Return the journal of an attempt, which is on if ``emitting`` says so."""
        journal = CallJournal(client, emitting.run_id, call, attempt, self._busy)
        self._calls[emitting.run_id, call, attempt] = journal
        if emitting.journal:
            journal.begin()
        return journal

    def _busy(self) -> int:
        """Return how many journals are on."""
        return sum(journal.is_on for journal in self._calls.values())

    def forget(self, run_id: str, call: str, attempt: int) -> None:
        """Drop the journal of an attempt that has ended."""
        self._calls.pop((run_id, call, attempt), None)

    def publish(self, run_id: str, batch: Batch) -> None:
        """Add a batch to the journal of its call, if that is on. Does not wait or raise."""
        journal = self._calls.get((run_id, batch.call, batch.attempt))
        if journal is not None:
            journal.publish(batch.events)

    def watch(self, run_id: str) -> None:
        """Turn the journal on for the calls of a run that are going on."""
        for journal in list(self._calls.values()):
            if journal.run_id == run_id:
                journal.begin(late=True)


class JournalInterceptor(Interceptor):
    """Opens the journal of each activity that emits, and closes it before the activity returns."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def intercept_activity(
        self,
        next: ActivityInboundInterceptor,  # noqa: A002 - the SDK's name
    ) -> ActivityInboundInterceptor:
        return _Inbound(next, self._journal)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, journal: Journal) -> None:
        super().__init__(following)
        self._journal = journal

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        emitting = input.args[0] if input.args else None
        match emitting:
            case ModelCall(emit=True) | ProgressPart():
                return await self._journaled(emitting, input)
            case _:
                return await super().execute_activity(input)

    async def _journaled(
        self, emitting: ModelCall | ProgressPart, activity_input: ExecuteActivityInput
    ) -> Any:
        info = activity.info()
        journal = self._journal.open(activity.client(), emitting, info.activity_id, info.attempt)
        try:
            result = await super().execute_activity(activity_input)
            await journal.close()
            return result
        except asyncio.CancelledError:
            raise
        except Exception:
            await journal.close()
            raise
        finally:
            journal.drop()
            self._journal.forget(emitting.run_id, info.activity_id, info.attempt)
