"""Sends the rest of a large answer to a client that may read slowly, without holding it in memory.

A client that reads 1 KiB/s takes hours for an answer of 10 MiB. The answer is sent in pieces. When
the client does not take one in time, the rest is written to a file without a name, in the private
data folder, and sent from there.
"""

import asyncio
import contextlib
import ctypes
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from starlette.types import Send

PIECE_BYTES = 64 * 1024

LARGE_BYTES = 4 * PIECE_BYTES
"""Smaller ones are sent in one piece."""

_PROMPT_S = 0.25
"""A client that takes a piece within this time reads fast enough."""


async def send_large(send: Send, body: list[bytes], folder: Path | None) -> None:
    """Send the only element of ``body``, which is removed, as the end of an ASGI answer.

    The file is made in ``folder``; with None the rest stays in memory.
    """
    async for piece, is_last in _pieces(send, body.pop(), folder):
        await send({"type": "http.response.body", "body": piece, "more_body": not is_last})


async def _pieces(
    send: Send, body: bytes, folder: Path | None
) -> AsyncIterator[tuple[bytes, bool]]:
    """Send pieces while they are taken promptly; yield those after that."""
    rest = memoryview(body)
    del body
    while len(rest) > PIECE_BYTES:
        message = {"type": "http.response.body", "body": bytes(rest[:PIECE_BYTES])}
        sending = asyncio.ensure_future(send({**message, "more_body": True}))
        rest = rest[PIECE_BYTES:]
        try:
            taken, _ = await asyncio.wait([sending], timeout=_PROMPT_S)
            if not taken and folder is not None:
                file = await asyncio.to_thread(_spill, rest, folder)
                rest = memoryview(b"")
                _return_memory()
                with contextlib.closing(file):
                    await sending
                    while piece := file.read(PIECE_BYTES):
                        yield piece, False
                break
            await sending
        finally:
            sending.cancel()
    yield bytes(rest), True


def _spill(rest: memoryview, folder: Path) -> BinaryIO:
    file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by the caller
    file.write(rest)
    file.seek(0)
    return file


def _return_memory() -> None:
    """Return freed memory to the system; glibc keeps the pages of large blocks."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
