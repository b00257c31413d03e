"""Child processes of one request: empty environment, limited output, killed at the end."""

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
            # Process.kill() polls the process, so the event loop would miss its end.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        await child.wait()


async def send(child: asyncio.subprocess.Process, content: bytes) -> None:
    """Write ``content`` to the child's input; it is not an error if the child does not read it."""
    assert child.stdin is not None
    # uvloop raises RuntimeError if the other end of the pipe is already closed.
    with contextlib.suppress(ConnectionError, RuntimeError):
        child.stdin.write(content)
        await child.stdin.drain()


async def receive(child: asyncio.subprocess.Process, most: int) -> bytes:
    """Return the child's output until it is closed, at most ``most`` bytes."""
    assert child.stdout is not None
    received = bytearray()
    while len(received) < most and (chunk := await child.stdout.read(1 << 16)):
        received += chunk
    return bytes(received[:most])


async def complaint(child: asyncio.subprocess.Process) -> str:
    """Return the end of the child's error output."""
    assert child.stderr is not None
    return (await child.stderr.read(1 << 16)).decode(errors="replace").strip()[-500:]
