"""A bounded queue whose thread writes batches to a database.

Putting a value never waits and never raises a database error: bookkeeping must not fail a
request. A batch is one transaction. If it fails, the reaction depends on the cause:

* an outage (locked, disk full, server gone): the batch is retried with back-off; meanwhile values
  pile up, and beyond the limit the oldest are dropped, counted and logged;
* a value that the database rejects: the batch is written one by one, and that value is dropped.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from polyvox.workflows.errors import ModelError

LIMIT = 20_000
BATCH = 200
INTERVAL_S = 0.05
FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 5.0

# Drivers raise Python's own errors for values they cannot bind, such as huge integers. The
# blob store reports a full disk or a damaged file as a ModelError.
WRITE_ERRORS = (SQLAlchemyError, ArithmeticError, ModelError, TypeError, ValueError)
_VALUE_FAULTS = (DataError, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError)

log = logging.getLogger(__name__)

T = TypeVar("T")


class WriteQueue(Generic[T]):
    """``write`` stores a batch in one transaction, in this queue's thread.

    The thread starts with the first value. All methods may be called from any thread.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], None],
        name: str,
        *,
        limit: int = LIMIT,
        batch: int = BATCH,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._write = write
        self._name = name
        self._limit = limit
        self._batch = batch
        self._interval_s = interval_s
        self._values: deque[T] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # The number of values accepted, and of those written or given up. Both only grow, so a
        # waiter needs only the number it waits for.
        self._accepted = 0
        self._settled = 0
        self._waiters: list[tuple[int, Future[None]]] = []
        self._deadline: float | None = None
        self._dropped = 0
        self._unreported = 0

    @property
    def dropped(self) -> int:
        """The number of values lost so far."""
        return self._dropped

    def put(self, value: T) -> None:
        """Queue a value, to be written soon."""
        with self._changed:
            if self._deadline is not None:
                self._drop(1)
                log.warning("The %s is closed; a %s is lost", self._name, type(value).__name__)
                return
            if len(self._values) >= self._limit:
                self._values.popleft()
                self._settled += 1
                self._drop(1)
            self._values.append(value)
            self._accepted += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            if len(self._values) in (1, self._batch):
                self._changed.notify_all()

    async def flush(self, timeout_s: float) -> None:
        """Wait until all values put so far are written or given up, for at most ``timeout_s``."""
        with self._changed:
            if self._settled == self._accepted:
                return
            future: Future[None] = Future()
            self._waiters.append((self._accepted, future))
            self._changed.notify_all()
        try:
            await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
        except TimeoutError:
            log.warning("The %s could not write everything within %.0f s", self._name, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Write the queue, for at most about ``timeout_s``, and end the thread."""
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout_s
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s + 1)

    def _run(self) -> None:
        while batch := self._next_batch():
            self._store(batch)
            with self._changed:
                self._settle(len(batch))

    def _next_batch(self) -> list[T]:
        """Wait for values and take a batch; empty if the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._values or self._deadline is not None)
            self._changed.wait_for(self._is_due, timeout=self._interval_s)
            count = min(self._batch, len(self._values))
            return [self._values.popleft() for _ in range(count)]

    def _is_due(self) -> bool:
        return len(self._values) >= self._batch or bool(self._waiters) or self._deadline is not None

    def _store(self, batch: Sequence[T]) -> None:
        delay_s = FIRST_RETRY_S
        while True:
            try:
                self._write(batch)
            except WRITE_ERRORS as error:
                if not _is_outage(error):
                    self._store_one_by_one(batch, error)
                    return
                if self._is_overdue():
                    with self._changed:
                        self._drop(len(batch))
                    log.error(
                        "The %s lost %d entries at its close: %s",
                        self._name,
                        len(batch),
                        _reason(error),
                    )
                    return
                log.warning(
                    "The %s cannot write %d entries; next attempt in %.1f s: %s",
                    self._name,
                    len(batch),
                    delay_s,
                    _reason(error),
                )
            else:
                self._report_losses()
                return
            closing = self._pause(delay_s)
            delay_s = FIRST_RETRY_S if closing else min(delay_s * 2, LONGEST_RETRY_S)

    def _pause(self, delay_s: float) -> bool:
        """Wait before the next attempt, or until a close begins; return whether it has begun."""
        with self._changed:
            before = self._deadline
            self._changed.wait_for(lambda: self._deadline != before, timeout=delay_s)
            return self._deadline is not None

    def _store_one_by_one(self, batch: Sequence[T], error: Exception) -> None:
        if len(batch) > 1:
            for value in batch:
                self._store([value])
            return
        with self._changed:
            self._dropped += 1
        log.error("The %s rejects a %s: %s", self._name, type(batch[0]).__name__, _reason(error))

    def _is_overdue(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _settle(self, count: int) -> None:
        self._settled += count
        done = [future for target, future in self._waiters if target <= self._settled]
        self._waiters = [waiter for waiter in self._waiters if waiter[0] > self._settled]
        for future in done:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def _drop(self, count: int) -> None:
        self._dropped += count
        self._unreported += count
        # Losses come in floods: the first is logged at once, then one line per thousand.
        if self._unreported == 1 or self._unreported % 1000 == 0:
            log.warning("The %s has lost %d entries so far", self._name, self._dropped)

    def _report_losses(self) -> None:
        with self._changed:
            lost, self._unreported = self._unreported, 0
        if lost:
            log.warning("The %s can write again; %d entries were lost", self._name, lost)


def _reason(error: Exception) -> str:
    """Return the database's message without the statement's values, which are private."""
    return str(getattr(error, "orig", None) or error)


def _is_outage(error: Exception) -> bool:
    return isinstance(error, ModelError | PoolTimeoutError) or (
        isinstance(error, DBAPIError)
        and (error.connection_invalidated or not isinstance(error, _VALUE_FAULTS))
    )
