"""Ends flows that block: they occupy their worker's thread without awaiting anything.

The SDK alone would fail the workflow task after two seconds and retry it forever. The watchdog's
thread examines every long activation several times per second and distinguishes three cases:

* The flow computes (its thread has used a second of CPU). ``BlockedFlow`` is raised in its thread,
  which ends the flow like an error of its own, with the current line.
* The flow waits in one line (``time.sleep``, a lock), where no exception can be raised. The run is
  ended from outside, and the thread becomes free when the call returns.
* The flow is starved because the machine is overloaded. The SDK has its task retried, and only a
  run that needs several retries is ended.

Code that holds the GIL (a regular expression that backtracks without end) cannot be interrupted in
this process. CPython cannot end a thread either: a thread that waits forever is lost until the
program ends.
"""

import ctypes
import linecache
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import Success, WorkflowActivationCompletion
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.workflow import Info

from polyvox.workflows.boundary.failures import failure
from polyvox.workflows.errors import ModelError

LOOK_S = 0.2
BUSY_S = 1.2
BUSY_CPU_S = 1.0
WAITING_S = 1.6
WAITING_LOOKS = 4
LONGEST_S = 5.0

SDK_LIMIT_S = 2.0
"""After this time the SDK gives up a workflow task, interrupts it and has it retried."""

MOST_TASKS = 3
MOST_CPU_S = 1.5
"""A run is ended if the SDK gave up this many of its tasks, or they used this much CPU."""

MOST_INTERRUPTIONS = 2
"""A flow that continues after this many interruptions catches them, or its event loop does."""

_REMEMBERED = 1000


class BlockedFlow(BaseException):
    """Raised in the thread of a flow that computes too long; ``except Exception`` misses it."""


def blocked(flow: str, line: str = "") -> ModelError:
    """Return the error of a run whose flow blocked its worker in ``line``, if that is known."""
    where = f" at {line}" if line else ""
    return ModelError(
        "flow_error",
        f"Flow {flow} was cut off{where}: it blocked its worker for seconds without awaiting "
        "anything. Use asyncio.sleep(...) to wait, and a tool for long computations.",
    )


@dataclass(slots=True, eq=False)
class _Watch:
    """One activation: its run and flow, its thread, and what was observed."""

    run_id: str
    flow: str
    thread: int
    begun: float
    cpu_begun: float
    place: tuple[str, int] | None = None
    looks: int = 0
    interruptions: int = 0
    raised: bool = False
    reported: bool = False

    def cpu_s(self) -> float | None:
        """Return the CPU time the thread has used, None if the system does not report it."""
        clock = getattr(time, "pthread_getcpuclockid", None)
        if clock is None:
            return None
        return time.clock_gettime(clock(self.thread)) - self.cpu_begun

    def look(self) -> None:
        """Store the flow's line that the thread executes, if its innermost frame is the flow's."""
        frame = sys._current_frames().get(self.thread)
        filename = frame.f_code.co_filename if frame else ""
        place = (filename, frame.f_lineno) if frame and f"({self.flow})" in filename else None
        self.looks = self.looks + 1 if place is not None and place == self.place else 0
        self.place = place

    @property
    def line(self) -> str:
        if self.place is None:
            return ""
        return f"line {self.place[1]}: {linecache.getline(*self.place).strip()}"


class Watchdog:
    """Watches the activations of workers that use its ``runner``.

    ``ended`` is called in the watchdog's thread, with the id of a run that must be ended from
    outside, and the error.
    """

    def __init__(self, ended: Callable[[str, ModelError], object]) -> None:
        self._ended = ended
        self._watches: set[_Watch] = set()
        self._given_up: OrderedDict[str, list[float]] = OrderedDict()
        self._ends: OrderedDict[str, ModelError] = OrderedDict()
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._stopped = False
        self.lost: list[WorkflowInstance] = []
        """Instances that could not be evicted."""
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def runner(self) -> WorkflowRunner:
        """Return a runner for a Worker; it runs workflows unsandboxed."""
        return _Runner(self)

    def close(self) -> None:
        self._stopped = True
        self._work.set()
        self._thread.join()

    def enter(self, run_id: str, flow: str) -> _Watch:
        """Start watching the calling thread."""
        watch = _Watch(run_id, flow, threading.get_ident(), time.monotonic(), time.thread_time())
        with self._lock:
            self._watches.add(watch)
        if not self._work.is_set():
            self._work.set()
        return watch

    def leave(self, watch: _Watch) -> None:
        """Stop the watch; after this no exception is raised for it."""
        with self._lock:
            self._watches.discard(watch)
            if watch.raised:
                _raise_in(watch.thread, None)
            hopeless = self._counted(watch)
        if hopeless:
            self.end(watch.run_id, blocked(watch.flow, watch.line))

    def _counted(self, watch: _Watch) -> bool:
        """Count a task that the SDK gave up; return whether its run must be ended."""
        if watch.reported or time.monotonic() - watch.begun < SDK_LIMIT_S:
            return False
        tasks = self._given_up.setdefault(watch.run_id, [])
        tasks.append(time.thread_time() - watch.cpu_begun)
        watch.reported = len(tasks) >= MOST_TASKS or sum(tasks) >= MOST_CPU_S
        if watch.reported:
            del self._given_up[watch.run_id]
        elif len(self._given_up) > _REMEMBERED:
            self._given_up.popitem(last=False)
        return watch.reported

    def end(self, run_id: str, error: ModelError) -> None:
        """Have a run ended from outside; until then its tasks are rejected."""
        with self._lock:
            self._ends[run_id] = error
            if len(self._ends) > _REMEMBERED:
                self._ends.popitem(last=False)
        self._ended(run_id, error)

    def end_of(self, run_id: str) -> ModelError | None:
        """Return why a run is being ended, None if it is not."""
        return self._ends.get(run_id)

    def _run(self) -> None:
        while not self._stopped:
            self._work.wait()
            time.sleep(LOOK_S)
            for watch in self._look():
                self.end(watch.run_id, blocked(watch.flow, watch.line))

    def _look(self) -> list[_Watch]:
        """Interrupt activations that compute; return those that must be ended from outside."""
        stuck: list[_Watch] = []
        now = time.monotonic()
        with self._lock:
            if not self._watches:
                self._work.clear()
            for watch in self._watches:
                wall = now - watch.begun
                if wall < BUSY_S - WAITING_LOOKS * LOOK_S:
                    continue
                watch.look()
                cpu = watch.cpu_s()
                waits = wall >= WAITING_S and watch.looks >= WAITING_LOOKS
                busy = wall >= BUSY_S and cpu is not None and cpu >= BUSY_CPU_S
                if busy or watch.reported:
                    watch.raised = True
                    _raise_in(watch.thread, BlockedFlow)
                watch.interruptions += busy
                swallowed = watch.interruptions > MOST_INTERRUPTIONS
                if not watch.reported and (waits or swallowed or wall >= LONGEST_S):
                    watch.reported = True
                    stuck.append(watch)
        return stuck


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise ``error`` in a thread at its next bytecode; None cancels an error not yet raised."""
    raised = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


@dataclass(frozen=True)
class _Runner(WorkflowRunner):
    watchdog: Watchdog
    inner: WorkflowRunner = field(default_factory=UnsandboxedWorkflowRunner)

    def prepare_workflow(self, defn: Any) -> None:
        self.inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Instance(self.inner.create_instance(det), self.watchdog)

    def set_worker_level_failure_exception_types(
        self, types: Sequence[type[BaseException]]
    ) -> None:
        self.inner.set_worker_level_failure_exception_types(types)


class _Instance(WorkflowInstance):
    """A workflow instance whose activations are watched."""

    def __init__(self, inner: WorkflowInstance, watchdog: Watchdog) -> None:
        self._inner = inner
        self._watchdog = watchdog

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        info = self._inner.get_info()
        ends = self._watchdog.end_of(info.workflow_id)
        if ends is not None and not any(job.HasField("remove_from_cache") for job in act.jobs):
            # The engine retries the task until it has received the end of the run. The flow would
            # block again, and might hold the GIL so that the end could not be sent.
            raise failure(ends, retryable=False)
        watch = self._watchdog.enter(info.workflow_id, info.workflow_type)
        try:
            try:
                return self._inner.activate(act)
            finally:
                self._watchdog.leave(watch)
        except BlockedFlow:
            # Raised outside of the flow's coroutine, or while the watch was being stopped.
            self._watchdog.leave(watch)
            error = blocked(watch.flow, watch.line)
            self._watchdog.end(watch.run_id, error)
            raise failure(error, retryable=False) from None
        except RuntimeError:
            # A flow that was interrupted in its event loop has tasks that never wake. The SDK would
            # retry forever to evict them, and they must not be garbage collected.
            if not any(job.HasField("remove_from_cache") for job in act.jobs):
                raise
            self._watchdog.lost.append(self)
            return WorkflowActivationCompletion(
                run_id=act.run_id, successful=Success(used_internal_flags=[])
            )

    def get_info(self) -> Info:
        return self._inner.get_info()

    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()

    def get_serialization_context(self, command_info: Any) -> Any:
        return self._inner.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._inner.get_external_store_context(command_info)
