"""Run one client as a child process in its own home, and end everything it started.

A client is isolated: its environment starts empty, so that neither the machine's
configuration nor another session affects it.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ANSWER_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of the process: its exit code and its output."""

    exit_code: int
    stdout: str
    stderr: str


class Stuck(AssertionError):
    """The client did not end in time and was killed with everything it had started."""

    def __init__(self, program: str, limit_s: float, ended: Ended) -> None:
        super().__init__(f"{program!r} did not end within {limit_s:g} s: {ended}")
        self.ended = ended


def environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return a complete environment with ``settings``. Create ``home`` if it does not exist."""
    scratch = home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "SHELL": "/bin/sh",
        "NO_PROXY": "127.0.0.1,localhost",
        **settings,
    }


async def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    stdin: bytes = b"",
    timeout_s: float,
) -> Ended:
    """Run ``command`` to its end; raise Stuck after ``timeout_s`` seconds.

    Input and output go through files: a child the client leaves behind may hold a pipe open, but
    it cannot keep a file from being read. Such children are killed, also those that have left the
    process group: they are identified by their home.

    A client that did not end first gets SIGUSR2, to report where it hangs. The matrix's programs in
    Node or Python report to standard error; any other program exits.
    """
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(stdin)
        given.seek(0)
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            cwd=cwd,
            stdin=given,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        stuck = False
        try:
            exit_code = await asyncio.wait_for(process.wait(), timeout_s)
        except TimeoutError:
            stuck, exit_code = True, -signal.SIGKILL
            process.send_signal(signal.SIGUSR2)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), ANSWER_LIMIT_S)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            for left in _at_home(environment["HOME"]):
                os.kill(left, signal.SIGKILL)
        out.seek(0)
        err.seek(0)
        ended = Ended(
            exit_code, out.read().decode(errors="replace"), err.read().decode(errors="replace")
        )
    if stuck:
        raise Stuck(command[0], timeout_s, ended)
    return ended


def _at_home(home: str) -> Iterator[int]:
    """Yield the ids of the processes whose home is ``home``; none without /proc."""
    wanted = f"HOME={home}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)
        except OSError:  # it has ended just now, or is not ours to look into
            continue
