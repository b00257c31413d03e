"""Child processes that work for one request: an empty environment, bounded output, no survivors."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence


@contextlib.asynccontextmanager
async def started(
    command: Sequence[str],
    environ: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start ``command`` with pipes to its three streams; kill it when the context ends."""
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environ or {}),
        pass_fds=descriptors,
        cwd="/",
    )
    try:
        yield child
    finally:
        assert child.stdin is not None
        child.stdin.close()
        if child.returncode is None:
            # Process.kill() would look whether it has ended, and so take its end from the loop.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        await child.wait()


async def send(child: asyncio.subprocess.Process, content: bytes) -> None:
    """Write ``content`` to the child's input; a child that does not want it is not an error."""
    assert child.stdin is not None
    # uvloop raises a RuntimeError for a pipe whose other end is already closed.
    with contextlib.suppress(ConnectionError, RuntimeError):
        child.stdin.write(content)
        await child.stdin.drain()


async def receive(child: asyncio.subprocess.Process, most: int) -> bytes:
    """Return what the child prints until it closes its output, at most ``most`` bytes."""
    assert child.stdout is not None
    received = bytearray()
    while len(received) < most and (chunk := await child.stdout.read(1 << 16)):
        received += chunk
    return bytes(received[:most])


async def complaint(child: asyncio.subprocess.Process) -> str:
    """Return the end of the child's error output."""
    assert child.stderr is not None
    return (await child.stderr.read(1 << 16)).decode(errors="replace").strip()[-500:]
