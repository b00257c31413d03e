"""Runs commands on untrusted code in a sandbox: bubblewrap, without network.

The code can read the system's programs and this Python's, and write to its folder, ``/tmp`` and
``/dev/shm``, which are in memory and deleted with the sandbox. It has no home folder, no network
and no access to other processes. bubblewrap starts with an empty environment, because code inside
could read it. ``sandbox_runner`` sets the limits. If bubblewrap is missing or not allowed to work,
nothing is run; there is no weaker alternative.
"""

import asyncio
import contextlib
import json
import math
import os
import random
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from polyvox.activities.tools import sandbox_runner
from polyvox.activities.tools.children import complaint, receive, send, started
from polyvox.activities.tools.sandbox_runner import READY
from polyvox.activities.tools.syscall_filter import syscall_filter
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError

_FOLDER = "/polyvox-sandbox"
_RUNNER = "/polyvox-runner.py"
_SYSTEM = (
    *(f"/usr/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64", "libexec")),
    *(f"/usr/{name}" for name in ("share", "include", "local/bin", "local/lib", "local/lib64")),
    *(f"/usr/local/{name}" for name in ("include", "share", "go")),
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache"),
)
_OF_PYTHON = ("bin", "lib", "lib64", "libexec", "share", "include", "pyvenv.cfg")
"""The visible parts of a Python's folder, which may also contain a project or its secrets."""

_MOST_FILES = 200
_MOST_BYTES = 5_000_000
_LONGEST_PATH = 1000
_LONGEST_NAME = 200
_MOST_ANSWER = 16 * 1024 * 1024
_START_S = 30.0
_FIRST_UID, _UIDS = 60_706, 470
"""User ids that systems do not assign; started by root, each sandbox runs as one of them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one check, for all its processes together."""

    memory_mb: int = 2048
    """Includes the files in its folder, ``/tmp`` and ``/dev/shm``."""
    disk_mb: int = 512
    """In its folder, and the same amount in ``/tmp``."""
    processes: int = 256
    """Includes threads."""
    open_files: int = 512
    """Per process."""


async def check_code(
    params: Mapping[str, Json], conversation: Conversation, limits: Limits = Limits()
) -> Json:
    """Write ``files`` (path to text) into an empty folder and run each of ``commands`` there.

    Returns ``[{"command", "passed", "exit", "output"}]``, up to the first failure. ``timeout_s``
    limits one command. A cancellation kills all processes immediately. Raises
    ModelError("unsupported") if there is no sandbox and ModelError("unprocessable") for files that
    cannot be written.
    """
    commands = [str(command) for command in params.get("commands", ())]
    timeout_s = float(params.get("timeout_s", 60))
    bwrap = find_bubblewrap()
    job = _job(_placed(params.get("files", {})), commands, timeout_s, limits)
    async with _sandbox(bwrap, limits) as sandbox:
        try:
            async with asyncio.timeout(timeout_s * len(commands) + _START_S):
                return await _results(sandbox, job)
        except TimeoutError:
            raise ModelError(
                "timeout", "The sandbox did not end in time and was stopped. Try again later."
            ) from None


def find_bubblewrap() -> str:
    """Return the path of bubblewrap. Raises ModelError("unsupported") if it is missing."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise ModelError(
            "unsupported",
            "Code is run only in a sandbox, and bubblewrap is not installed on the server. Install "
            "it (apt install bubblewrap), or configure no commands.",
        )
    return bwrap


def _job(
    files: Mapping[str, str], commands: Sequence[str], timeout_s: float, limits: Limits
) -> bytes:
    """Return the runner's job as one line."""
    cores = os.cpu_count() or 1
    job = {
        "folder": _FOLDER,
        "files": files,
        "commands": commands,
        "timeout_s": timeout_s,
        "uid": _FIRST_UID + random.randrange(_UIDS) if os.getuid() == 0 else None,
        "limits": {
            "memory": limits.memory_mb << 20,
            # Programs reserve more than they use; this only limits a sudden increase.
            "address_space": 4 * limits.memory_mb << 20,
            "disk": limits.disk_mb << 20,
            "files": 100_000,
            "processes": limits.processes,
            "open_files": limits.open_files,
            "cpu_s": math.ceil(timeout_s * cores),
        },
    }
    return json.dumps(job).encode() + b"\n"


@contextlib.asynccontextmanager
async def _sandbox(bwrap: str, limits: Limits) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a sandbox with its runner; kill all its processes at the end."""
    rules = syscall_filter()
    if rules is None:
        raise ModelError(
            "unsupported",
            "Code is run only in a sandbox, which does not support this processor. "
            "Configure no commands, or run the server on x86_64, aarch64 or riscv64.",
        )
    reading, writing = os.pipe()
    try:
        os.write(writing, rules)  # fits into the pipe's buffer
        os.close(writing)
        async with started(_wrapped(bwrap, limits, reading), descriptors=[reading]) as sandbox:
            yield sandbox
    finally:
        os.close(reading)


async def _results(sandbox: asyncio.subprocess.Process, job: bytes) -> Json:
    await send(sandbox, job)
    answer = await receive(sandbox, _MOST_ANSWER)
    if not answer.startswith(READY):
        raise ModelError(
            "unsupported",
            "Code is run only in a sandbox, and bubblewrap cannot create one here "
            f"({await complaint(sandbox) or 'no message'}). Allow the server to use user "
            "namespaces, or configure no commands.",
        )
    if not answer.endswith(b"\n", len(READY)):
        raise ModelError(
            "unprocessable", "The sandbox ended before its commands. Nothing was checked."
        )
    await sandbox.wait()
    return json.loads(answer.removeprefix(READY))


def _wrapped(bwrap: str, limits: Limits, rules: int) -> Sequence[str]:
    """Return the command line that starts the runner in a sandbox; ``rules`` is a descriptor."""
    places = [
        f"{p}/{part}" for p in {sys.prefix, sys.base_prefix} - {"/usr"} for part in _OF_PYTHON
    ]
    shown = [path for path in (*_SYSTEM, *sorted(places)) if os.path.lexists(path)]
    # Created explicitly, because bubblewrap would create them for its user only.
    above = sorted({str(p) for path in shown for p in Path(path).parents} - {"/", "/tmp"})
    disk, shared = f"{limits.disk_mb << 20}", f"{min(limits.disk_mb, 64) << 20}"
    # Root needs no user namespace: the runner gives up root before it runs commands.
    user = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    path = ":".join([f"{sys.prefix}/bin", "/usr/local/bin", "/usr/bin", "/bin"])
    environment = {
        "PATH": path,
        "HOME": "/tmp",
        "USER": "sandbox",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return [
        bwrap,
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        "--unshare-cgroup-try",
        *(user if os.getuid() == 0 else ["--unshare-user"]),
        "--die-with-parent",
        "--new-session",
        "--as-pid-1",
        "--clearenv",
        *(word for name, value in environment.items() for word in ("--setenv", name, value)),
        # First, because this Python may be below /tmp.
        *("--perms", "1777", "--size", disk, "--tmpfs", "/tmp"),
        *(word for path in above for word in ("--perms", "0755", "--dir", path)),
        *(word for path in shown for word in ("--ro-bind", path, path)),
        *("--ro-bind", str(Path(sandbox_runner.__file__)), _RUNNER),
        *("--proc", "/proc"),
        *("--dev", "/dev"),
        *("--perms", "1777", "--size", shared, "--tmpfs", "/dev/shm"),
        *("--remount-ro", "/dev"),
        *("--perms", "1777", "--size", disk, "--tmpfs", _FOLDER),
        *("--remount-ro", "/"),
        *("--chdir", _FOLDER),
        *("--seccomp", str(rules)),
        *("--", sys.executable, "-I", "-S", _RUNNER),
    ]


def _placed(files: Mapping[str, Json]) -> dict[str, str]:
    """Return the files by normalized path. Raises ModelError that names an invalid file."""
    if len(files) > _MOST_FILES or sum(len(str(text)) for text in files.values()) > _MOST_BYTES:
        raise ModelError(
            "unprocessable",
            f"At most {_MOST_FILES} files with {_MOST_BYTES:,} characters can be checked.",
        )
    placed: dict[str, str] = {}
    for name, text in files.items():
        path = _path(name)
        if path in placed:
            raise _unplaceable(name, "Another file has the same path. Use different paths.")
        if not _encodes(str(text)):
            raise _unplaceable(name, "Its text is not valid Unicode. Remove surrogates.")
        placed[path] = str(text)
    for path in placed:
        above = next((str(p) for p in PurePosixPath(path).parents if str(p) in placed), None)
        if above is not None:
            raise _unplaceable(path, f"{above!r} is a file and not a folder. Rename one of them.")
    return placed


def _path(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or name.endswith("/"):
        raise _unplaceable(name, "It is not a path inside the folder. Use a relative path.")
    if not _encodes(name) or not name.isprintable():
        raise _unplaceable(name, "It contains characters that are not printable. Use a plain path.")
    longest = max(len(part.encode()) for part in path.parts)
    if len(name.encode()) > _LONGEST_PATH or longest > _LONGEST_NAME:
        raise _unplaceable(
            name,
            f"A path may have {_LONGEST_PATH} bytes, each part of it {_LONGEST_NAME}. "
            "Use a shorter path.",
        )
    return str(path)


def _unplaceable(name: str, why: str) -> ModelError:
    shown = name if len(name) <= 80 else f"{name[:80]}..."
    return ModelError("unprocessable", f"The file {shown!r} cannot be written. {why}")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
