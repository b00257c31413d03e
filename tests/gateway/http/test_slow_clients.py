"""A large answer to a client that reads slowly: sent whole, and from a file."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from polyvox.activities.live.channel import Batch, Channel, RunOutcome
from polyvox.gateway.http.slow_clients import PIECE_BYTES, send_large
from polyvox.workflows.conversation import Text
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import PartDelta
from polyvox.workflows.reply import Reply


class Client:
    """Takes a piece only while ``reads`` is set."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.asked = asyncio.Event()
        self.body = b""
        self.is_over = False

    async def send(self, message: Any) -> None:
        assert not self.is_over
        assert len(message["body"]) <= PIECE_BYTES
        self.asked.set()
        await self.reads.wait()
        self.body += message["body"]
        self.is_over = not message["more_body"]


async def test_a_fast_client_gets_all_of_it(tmp_path: Path) -> None:
    client, whole = Client(), os.urandom(10 * PIECE_BYTES + 5)
    client.reads.set()
    await send_large(client.send, [whole], tmp_path)
    assert (client.body, client.is_over) == (whole, True)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
async def test_a_slow_client_gets_all_of_it_later(tmp_path: Path) -> None:
    """The rest waits in a file without a name."""
    client, whole = Client(), os.urandom(10 * PIECE_BYTES)
    body = [whole]
    sending = asyncio.create_task(send_large(client.send, body, tmp_path))
    await client.asked.wait()
    assert body == []
    while not _is_spilled(tmp_path):  # noqa: ASYNC110 - a file has no event
        await asyncio.sleep(0.01)
    client.reads.set()
    await sending
    assert (client.body, client.is_over) == (whole, True)
    assert not os.listdir(tmp_path)  # noqa: PTH208


def _is_spilled(folder: Path) -> bool:
    files = [Path(f"/proc/self/fd/{fd}") for fd in range(200)]
    return any(str(file.readlink()).startswith(f"{folder}/") for file in files if file.is_symlink())


async def test_a_listener_that_is_far_behind_gets_no_reply_to_hold() -> None:
    channel = Channel(live=True)
    for _ in range(20):
        channel.push(Batch("1", 1, [PartDelta("x" * 100_000)]))
    channel.end(RunOutcome(reply=Reply((Text("x" * 2_000_000),))))
    assert channel.outcome is None
    assert channel.postponed == RunOutcome()
    assert await channel.next(60.0)
    assert not await channel.next(60.0)


async def test_its_error_is_passed_on() -> None:
    channel = Channel(live=True)
    for _ in range(20):
        channel.push(Batch("1", 1, [PartDelta("x" * 100_000)]))
    channel.end(RunOutcome(error=ModelError("stream_cut", "It broke.")))
    assert channel.outcome is not None
