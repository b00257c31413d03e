"""A bounded queue whose thread writes batches to a database.

``put`` never waits and never raises a database error: most bookkeeping must not fail a request.
``store`` returns a future for what must be durable before the caller goes on. Such a value is
written at once, together with all others in the queue, instead of after the usual interval; what
arrives during a write is in the next one, so many waiting callers share a transaction.

A batch is one transaction. If it fails, the reaction depends on the cause:

* an outage (locked, disk full, server gone): the batch is retried with back-off; meanwhile values
  pile up, and beyond the limit the oldest are dropped, counted and logged. Whoever waits for a
  value gets the error at once, although the value stays in the queue;
* a conflict with another process (a deadlock): the batch is written again at once;
* a value that the database rejects: the batch is written one by one, and that value is dropped.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
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
MOST_CONFLICTS = 10

# Drivers raise Python's own errors for values they cannot bind, such as huge integers. The
# blob store reports a full disk or a damaged file as a ModelError.
WRITE_ERRORS = (SQLAlchemyError, ArithmeticError, ModelError, TypeError, ValueError)
_CONFLICTS = ("40P01", "40001")
"""PostgreSQL's codes of a deadlock and of a serialization failure."""

_VALUE_FAULTS = (DataError, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError)

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Queued(Generic[T]):
    """A value, and the future of the caller who waits for it."""

    value: T
    durable: "asyncio.Future[None] | None" = None


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
        self._values: deque[_Queued[T]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # The number of values accepted, and of those written or given up. Both only grow, so a
        # waiter needs only the number it waits for.
        self._accepted = 0
        self._settled = 0
        self._waiters: list[tuple[int, Future[None]]] = []
        self._urgent = 0
        self._outage: str | None = None
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
            self._add(_Queued(value))

    def store(self, value: T) -> "asyncio.Future[None]":
        """Queue a value, to be written now; the future is done when it is durable.

        It raises ModelError("overloaded") during an outage, and ModelError("internal") if the
        database rejects the value. It need not be awaited. Call it on an event loop.
        """
        durable = asyncio.get_running_loop().create_future()
        durable.add_done_callback(_noticed)
        with self._changed:
            if self._outage is not None:
                durable.set_exception(self._unwritable(self._outage))
                self._add(_Queued(value))
            else:
                self._add(_Queued(value, durable))
        return durable

    def _add(self, queued: _Queued[T]) -> None:
        if self._deadline is not None:
            self._drop(1)
            log.warning("The %s is closed; a %s is lost", self._name, type(queued.value).__name__)
            _finish([queued], partial(self._unwritable, "it is closed"))
            return
        if len(self._values) >= self._limit:
            lost = self._values.popleft()
            self._urgent -= lost.durable is not None
            _finish([lost], partial(self._unwritable, "too much waits to be written"))
            self._settled += 1
            self._drop(1)
        self._values.append(queued)
        self._urgent += queued.durable is not None
        self._accepted += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        if queued.durable is not None or len(self._values) in (1, self._batch):
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

    def _next_batch(self) -> list[_Queued[T]]:
        """Wait for values and take a batch; empty if the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._values or self._deadline is not None)
            self._changed.wait_for(self._is_due, timeout=self._interval_s)
            count = min(self._batch, len(self._values))
            batch = [self._values.popleft() for _ in range(count)]
            self._urgent -= sum(queued.durable is not None for queued in batch)
            return batch

    def _is_due(self) -> bool:
        return (
            self._urgent > 0
            or len(self._values) >= self._batch
            or bool(self._waiters)
            or self._deadline is not None
        )

    def _store(self, batch: Sequence[_Queued[T]]) -> None:
        delay_s = FIRST_RETRY_S
        conflicts = 0
        while True:
            try:
                self._write([queued.value for queued in batch])
            except WRITE_ERRORS as error:
                if _is_conflict(error) and conflicts < MOST_CONFLICTS:
                    conflicts += 1
                    continue
                if not _is_outage(error):
                    self._store_one_by_one(batch, error)
                    return
                self._begin_outage(batch, _reason(error))
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
                self._end_outage()
                _finish(batch)
                return
            closing = self._pause(delay_s)
            delay_s = FIRST_RETRY_S if closing else min(delay_s * 2, LONGEST_RETRY_S)

    def _pause(self, delay_s: float) -> bool:
        """Wait before the next attempt, or until a close begins; return whether it has begun."""
        with self._changed:
            before = self._deadline
            self._changed.wait_for(lambda: self._deadline != before, timeout=delay_s)
            return self._deadline is not None

    def _store_one_by_one(self, batch: Sequence[_Queued[T]], error: Exception) -> None:
        if len(batch) > 1:
            for queued in batch:
                self._store([queued])
            return
        with self._changed:
            self._dropped += 1
        kind = type(batch[0].value).__name__
        log.error("The %s rejects a %s: %s", self._name, kind, _reason(error))
        message = f"The {self._name} rejects a {kind}."
        _finish(batch, lambda: ModelError("internal", message))

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

    def _begin_outage(self, batch: Sequence[_Queued[T]], reason: str) -> None:
        """Fail all who wait for a value; the values stay, to be written when that is possible."""
        with self._changed:
            self._outage = reason
            waiting = [*batch, *self._values]
            self._values = deque(_Queued(queued.value) for queued in self._values)
            self._urgent = 0
        _finish(waiting, partial(self._unwritable, reason))

    def _end_outage(self) -> None:
        with self._changed:
            self._outage = None
            lost, self._unreported = self._unreported, 0
        if lost:
            log.warning("The %s can write again; %d entries were lost", self._name, lost)

    def _unwritable(self, reason: str) -> ModelError:
        return ModelError(
            "overloaded",
            f"The server's {self._name} cannot be written ({reason}). Its operator must check the "
            "database and its disk.",
        )


def _finish(values: Sequence[_Queued[T]], error: Callable[[], ModelError] | None = None) -> None:
    """Tell those who wait for ``values``, with one call for each event loop."""
    futures: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for queued in values:
        if queued.durable is not None:
            futures.setdefault(queued.durable.get_loop(), []).append(queued.durable)
    for loop, waiting in futures.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, waiting, error)


def _resolve(
    futures: Sequence["asyncio.Future[None]"], error: Callable[[], ModelError] | None
) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error())


def _noticed(future: "asyncio.Future[None]") -> None:
    """Mark the error as seen, for those who do not wait until the value is durable."""
    if not future.cancelled():
        future.exception()


def _reason(error: Exception) -> str:
    """Return the database's message without the statement's values, which are private."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _is_conflict(error: Exception) -> bool:
    """Return whether PostgreSQL aborted the transaction for another one, which then went on."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _CONFLICTS


def _is_outage(error: Exception) -> bool:
    return isinstance(error, ModelError | PoolTimeoutError) or (
        isinstance(error, DBAPIError)
        and (error.connection_invalidated or not isinstance(error, _VALUE_FAULTS))
    )
