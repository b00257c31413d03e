"""Process 1 of a sandbox: sets limits, writes the files, runs the commands, measures their usage.

bubblewrap starts this file with Python's standard library only, so it does not import Polyvox. It
reads one line of JSON (see ``bubblewrap``) and writes two: that it is ready, and the results. It
fails closed: if a limit cannot be set, it ends before anything is run.

As process 1 it cannot be killed or stopped from inside. It is not dumpable, so the commands, which
run as the same user, cannot read its memory or write to its pipes. Its standard input stays open as
long as the server waits for the results; when it closes, the sandbox ends.
"""

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

READY = b"ready\n"
"""Written when all limits are set and the commands begin."""

_LOOK_S = 0.05
"""The interval at which the usage of the commands is measured."""

_HEAD = 2000
_TAIL = 4000
_CHUNK = 1 << 16
_PAGE = resource.getpagesize()
_PR_SET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 1, 3, 4

_FIXED_LIMITS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MEMLOCK: 1 << 16,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 1024,
    resource.RLIMIT_RTPRIO: 0,
}


class Cut:
    """The head and the tail of a command's output; the middle of a long output is dropped."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = bytearray()
        self._length = 0

    def add(self, chunk: bytes) -> None:
        self._length += len(chunk)
        missing = _HEAD - len(self._head)
        self._head += chunk[:missing]
        self._tail += chunk[missing:]
        if len(self._tail) > _TAIL + _CHUNK:
            del self._tail[:-_TAIL]

    def text(self) -> str:
        tail = bytes(self._tail[-_TAIL:])
        dropped = self._length - len(self._head) - len(tail)
        between = f"\n[{dropped:,} bytes are left out here]\n".encode() if dropped else b""
        return (self._head + between + tail).decode(errors="replace")


class Count:
    """Compares the resource usage of all commands with the limits."""

    def __init__(self, limits: Mapping[str, int], folders: list[str]) -> None:
        self._limits = limits
        self._folders = folders
        self._shared_before = _machine()["Shmem"]

    def excess(self) -> str:
        """Return a message if a limit is exceeded, else an empty string."""
        pids = [
            name
            for name in os.listdir("/proc")  # noqa: PTH208  # names alone, twenty times a second
            if name.isdigit() and name != "1"
        ]
        resident = threads = 0
        for pid in pids:
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
                threads += int(fields[17])
                resident += int(fields[21]) * _PAGE
        written = files = 0
        for folder in self._folders:
            found = os.statvfs(folder)
            written += (found.f_blocks - found.f_bfree) * found.f_frsize
            files += found.f_files - found.f_ffree
        memory = self._limits["memory"]
        # Shared pages are counted once per process here, so this check may be too strict.
        if resident + written > memory and _proportional(pids) + written > memory:
            return f"it used more than {memory >> 20:,} MiB of memory"
        if threads > self._limits["processes"]:
            return f"it had more than {self._limits['processes']:,} processes and threads"
        if files > self._limits["files"]:
            return f"it made more than {self._limits['files']:,} files"
        machine = _machine()
        if machine["Shmem"] - self._shared_before > memory and _unseen(pids) > memory:
            return f"it used more than {memory >> 20:,} MiB of shared memory"
        if machine["MemAvailable"] < machine["MemTotal"] // 20:
            return "the server has almost no memory left"
        return ""


def main() -> None:
    """Do the job on standard input. Any error before it is ready ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job = json.loads(sys.stdin.buffer.readline())
    limits = job["limits"]
    results_to = os.dup(1)
    _lower(limits, job["uid"])
    folder = Path(job["folder"])
    for path, text in job["files"].items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8", newline="")
    os.write(results_to, READY)
    count = Count(limits, [job["folder"], "/tmp", "/dev/shm"])
    results: list[dict[str, Any]] = []
    for command in job["commands"]:
        results.append(_run(command, job["timeout_s"], limits, count))
        if not results[-1]["passed"]:
            break
    with os.fdopen(results_to, "wb") as opened:
        opened.write(json.dumps(results).encode() + b"\n")


def _lower(limits: Mapping[str, int], uid: int | None) -> None:
    """Give up privileges and lower limits irrevocably, and verify that."""
    wanted = {
        **_FIXED_LIMITS,
        resource.RLIMIT_AS: limits["address_space"],
        resource.RLIMIT_FSIZE: limits["disk"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_NPROC: limits["processes"],
    }
    for name, most in wanted.items():
        hard = resource.getrlimit(name)[1]
        lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (lower, lower))
    # If memory is short, the kernel should kill this process and not the server.
    Path("/proc/self/oom_score_adj").write_text("1000")
    if uid is not None:
        # The kernel does not limit the number of root's processes. Only this sandbox has this user.
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None, use_errno=True)
    # bubblewrap sets this too, but a change of user clears it.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError("the first process cannot be protected from the others")
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    held = {name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")}
    if os.getpid() != 1 or os.getuid() == 0 or any(held.values()):
        raise OSError(f"the sandbox has privileges: {held}, user {os.getuid()}")
    if status["NoNewPrivs"] != "1" or status["Seccomp"] != "2":
        raise OSError("the filter of system calls is not in place")


def _run(command: str, timeout_s: float, limits: Mapping[str, int], count: Count) -> dict[str, Any]:
    """Run one command until it ends, times out or exceeds a limit; end all its processes."""

    def begin() -> None:
        os.nice(10)
        resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_s"], limits["cpu_s"]))

    reading, writing = os.pipe()
    deadline = time.monotonic() + timeout_s
    child = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
        preexec_fn=begin,  # noqa: PLW1509  # this process has one thread
    )
    os.close(writing)
    cut, stopped = Cut(), ""
    ended = os.pidfd_open(child.pid)
    with selectors.DefaultSelector() as selector:
        for file in (0, reading, ended):
            selector.register(file, selectors.EVENT_READ)
        look_at = 0.0
        while not stopped:
            ready = {key.fd for key, _ in selector.select(_LOOK_S)}
            if 0 in ready:
                os._exit(1)  # the server has ended or no longer needs the results
            if reading in ready:
                chunk = os.read(reading, _CHUNK)
                cut.add(chunk)
                if not chunk:
                    selector.unregister(reading)
            if ended in ready:
                break
            now = time.monotonic()
            if now >= deadline:
                stopped = f"Stopped after {timeout_s:g} s."
            elif now >= look_at:
                excess = count.excess()
                stopped = f"Stopped: {excess}." if excess else ""
                # Measuring takes at most a tenth of the time.
                look_at = time.monotonic() + max(_LOOK_S, 10 * (time.monotonic() - now))
    os.close(ended)
    code = _end_all(child.pid)
    child.returncode = code
    while chunk := os.read(reading, _CHUNK):
        cut.add(chunk)
    os.close(reading)
    exit_code = None if stopped else code
    output = f"{cut.text()}\n{stopped}".strip()
    return {"command": command, "passed": exit_code == 0, "exit": exit_code, "output": output}


def _end_all(first: int) -> int:
    """Kill all other processes; return the command's exit code as a shell does."""
    code = 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return code
        if pid == first:
            exit_code = os.waitstatus_to_exitcode(status)
            code = exit_code if exit_code >= 0 else 128 - exit_code


def _machine() -> dict[str, int]:
    """Return /proc/meminfo, in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {name: int(size.split()[0]) << 10 for name, size in (line.split(":") for line in lines)}


def _proportional(pids: list[str]) -> int:
    """Return resident memory with each shared page counted once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10
        except PermissionError:
            # The process made itself unreadable, so all its resident memory counts.
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        except (OSError, StopIteration):
            continue
    return total


def _unseen(pids: list[str]) -> int:
    """Return the size of shared anonymous memory, which may be in use without being resident."""
    sizes: dict[str, int] = {}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except PermissionError:
            return sys.maxsize
        except OSError:
            continue
        for line in lines:
            if line.endswith("/dev/zero (deleted)"):
                span, _, offset, _, inode, *_ = line.split()
                begin, end = (int(edge, 16) for edge in span.split("-"))
                reach = int(offset, 16) + end - begin
                sizes[inode] = max(sizes.get(inode, 0), reach)
    return sum(sizes.values())


if __name__ == "__main__":
    main()
