"""Runs commands over somebody's code where it can do no harm: bubblewrap, without network.

The code sees the system's programs and this Python's, read-only, an empty ``/tmp`` and its own
folder; no home, no network, no environment, no other process. Where bubblewrap is missing or not
allowed to do its work, nothing is run: there is no second, weaker way.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError

_FOLDER = "/polyvox-sandbox"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives", "/etc/ld.so.cache")
_MOST_OUTPUT = 6000
_MOST_FILES = 200
_MOST_BYTES = 5_000_000
_LIMITS = "ulimit -f 102400 -u 512 -v 8000000 2>/dev/null || true"
"""Of the shell that starts a command: file size in KiB, processes, memory in KiB."""


def check_code(params: Mapping[str, Json], conversation: Conversation) -> Json:
    """Write ``files`` (path to text) into an empty folder and run each of ``commands`` there.

    Returns ``[{"command", "passed", "exit", "output"}]``; the first failure ends it. ``timeout_s``
    is for one command. Raises ModelError("unsupported") where there is no sandbox and
    ModelError("unprocessable") for a path that leads out of the folder.
    """
    commands = [str(command) for command in params.get("commands", ())]
    timeout_s = float(params.get("timeout_s", 60))
    bwrap = find_sandbox()
    with tempfile.TemporaryDirectory(prefix="polyvox-sandbox-") as folder:
        _write(Path(folder), params.get("files", {}))
        results: list[dict[str, Any]] = []
        for command in commands:
            results.append(_run(bwrap, Path(folder), command, timeout_s))
            if not results[-1]["passed"]:
                break
        return results


def find_sandbox() -> str:
    """Return the path of a bubblewrap that works.

    Raises ModelError("unsupported") that says why none does and what to do.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise ModelError(
            "unsupported",
            "Code is only run in a sandbox, and bubblewrap is not installed on the server. Install "
            "it (apt install bubblewrap), or configure no commands.",
        )
    trial = subprocess.run(
        _wrapped(bwrap, None, "true"), capture_output=True, text=True, timeout=20, check=False
    )
    if trial.returncode != 0:
        raise ModelError(
            "unsupported",
            "Code is only run in a sandbox, and bubblewrap may not make one here "
            f"({trial.stderr.strip() or trial.returncode}). Allow user namespaces to the server, "
            "or configure no commands.",
        )
    return bwrap


def _run(bwrap: str, folder: Path, command: str, timeout_s: float) -> dict[str, Any]:
    try:
        done = subprocess.run(
            _wrapped(bwrap, folder, command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output, code = late.stdout or b"", None
        note = f"\nStopped after {timeout_s:g} s."
    else:
        output, code, note = done.stdout, done.returncode, ""
    said = output[-_MOST_OUTPUT:].decode(errors="replace") + note
    return {"command": command, "passed": code == 0, "exit": code, "output": said.strip()}


def _wrapped(bwrap: str, folder: Path | None, command: str) -> Sequence[str]:
    prefixes = {sys.prefix, sys.base_prefix} - {"/usr"}
    shown = [path for path in (*_SYSTEM, *sorted(prefixes)) if os.path.exists(path)]  # noqa: PTH110
    binds = [word for path in shown for word in ("--ro-bind", path, path)]
    where = ["--bind", str(folder), _FOLDER] if folder else ["--dir", _FOLDER]
    path = ":".join([f"{sys.prefix}/bin", "/usr/local/bin", "/usr/bin", "/bin"])
    return [
        bwrap,
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        *("--setenv", "PATH", path),
        *("--setenv", "HOME", "/tmp"),
        *("--setenv", "LANG", "C.UTF-8"),
        *("--setenv", "PYTHONDONTWRITEBYTECODE", "1"),
        # Before the rest: this Python may itself lie below /tmp.
        *("--tmpfs", "/tmp"),
        *binds,
        *("--proc", "/proc"),
        *("--dev", "/dev"),
        *where,
        *("--chdir", _FOLDER),
        *("sh", "-c", f"{_LIMITS}; {command}"),
    ]


def _write(folder: Path, files: Mapping[str, Json]) -> None:
    if len(files) > _MOST_FILES or sum(len(str(text)) for text in files.values()) > _MOST_BYTES:
        raise ModelError(
            "unprocessable",
            f"More than {_MOST_FILES} files or {_MOST_BYTES:,} characters are not checked.",
        )
    for name, text in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ModelError(
                "unprocessable", f"{name!r} is no path inside the folder. Give a relative one."
            )
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(text), "utf-8")
