"""CPU and memory of a process and its children, from /proc (Linux; format: proc(5))."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Used:
    """CPU since the start of the process in ms (user and system), and resident memory in MB."""

    cpu_ms: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Usage:
    """The program itself (gateway and worker are one process) and its children (the engine)."""

    gateway: Used
    engine: Used


def usage(pid: int) -> Usage | None:
    """Return the resource usage of process ``pid`` and its children; None without /proc."""
    if not (PROC / str(pid) / "stat").exists():
        return None
    children = [child for child in _pids() if _parent(child) == pid]
    engine = [_used(child) for child in children]
    return Usage(
        gateway=_used(pid),
        engine=Used(sum(used.cpu_ms for used in engine), sum(used.memory_mb for used in engine)),
    )


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; none if the process has ended."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    # The second field is the program's name in parentheses and may hold anything.
    return text.rpartition(")")[2].split()


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _used(pid: int) -> Used:
    fields = _stat(pid)
    if not fields:
        return Used(0.0, 0.0)
    ticks = int(fields[11]) + int(fields[12])
    return Used(
        cpu_ms=ticks * 1000 / os.sysconf("SC_CLK_TCK"),
        memory_mb=int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
    )
