"""How the two ends of a live lane prove to each other that they have the deployment's key.

Each side sends a random number, and answers the other's with an HMAC (SHA-256) over both numbers,
both process ids and its own side. So a recorded connection cannot be repeated, and an answer cannot
be sent back to the side that asked. The key is derived from the deployment key for this purpose.
Without TLS whoever is on the network's path can still read and change what is sent afterwards.
"""

import asyncio
import hashlib
import hmac
import secrets
from typing import Final, Protocol

from polyvox.workflows.conversation import Json

PURPOSE: Final = "live lane"
"""What the key is derived for."""

LIMIT_S: Final = 5.0

_LONGEST_ID: Final = 64


class LaneRefused(Exception):
    """The other side could not prove who it is; the message says why."""


class Socket(Protocol):
    """An end of a WebSocket of aiohttp."""

    async def send_json(self, data: Json) -> None: ...

    async def receive_json(self) -> Json: ...


async def greet(socket: Socket, key: bytes, own: str, listener: str) -> None:
    """Prove to ``listener`` that this is the process ``own``. Raises LaneRefused or TimeoutError.

    Another process at the listener's address, such as its successor, is refused.
    """
    async with asyncio.timeout(LIMIT_S):
        number = secrets.token_hex(16)
        await socket.send_json({"process": own, "number": number})
        process, challenge, proof = await _received(socket, "process", "number", "proof")
        if process != listener:
            raise LaneRefused(f"process {process} answers instead of {listener}")
        values = (number, challenge, own, listener)
        _check(proof, _proof(key, "listener", *values))
        await socket.send_json({"proof": _proof(key, "caller", *values)})


async def admit(socket: Socket, key: bytes, own: str) -> str:
    """Return the id of the process that calls ``own``. Raises LaneRefused or TimeoutError."""
    async with asyncio.timeout(LIMIT_S):
        caller, number = await _received(socket, "process", "number")
        challenge = secrets.token_hex(16)
        values = (number, challenge, caller, own)
        await socket.send_json(
            {"process": own, "number": challenge, "proof": _proof(key, "listener", *values)}
        )
        (proof,) = await _received(socket, "proof")
        _check(proof, _proof(key, "caller", *values))
        return caller


async def _received(socket: Socket, *names: str) -> tuple[str, ...]:
    """Return the members of the next message."""
    try:
        message = await socket.receive_json()
        values = tuple(message[name] for name in names)
    except (TypeError, ValueError, KeyError):
        raise LaneRefused("it does not speak this version of the live lane") from None
    if not all(isinstance(value, str) and 0 < len(value) <= _LONGEST_ID for value in values):
        raise LaneRefused("it does not speak this version of the live lane")
    return values


def _proof(key: bytes, side: str, *values: str) -> str:
    text = "".join(f"{len(value)}:{value}" for value in (side, *values))
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


def _check(proof: str, expected: str) -> None:
    if not hmac.compare_digest(proof.encode("utf-8", "surrogatepass"), expected.encode()):
        raise LaneRefused("it has another deployment key")
