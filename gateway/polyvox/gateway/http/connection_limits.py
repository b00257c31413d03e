"""What one connection may use, and how many connections there may be.

A connection that is refused, or answered before its request's body has arrived, lingers: it reads
and discards what the client still sends. Closed at once, the client's kernel would report a reset,
and many clients then do not read the answer. Lingering ends with the body, after ``LINGER_S``
seconds or ``LINGER_BYTES`` bytes; only a share of all connections may linger at once.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

from polyvox.gateway.http.draining import Draining
from polyvox.workflows.errors import ModelError

log = logging.getLogger(__name__)

LINGER_S = 5
"""Counted by ``check``, so a server that is too busy to read does not use it up."""

LINGER_BYTES = 128 * 1024 * 1024
"""Twice the largest body that the default settings accept."""

_LINGERING_SHARE = 4
"""One in so many of all the connections that the open files allow."""

_TAKEN_BYTES = 4096
"""A client that reads less than this in ``write_s`` counts as reading nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``read_s`` bounds the time of a request's head, ``write_s`` how long a client may read
    nothing of its answer; the others bound the connections, of one address and in all."""

    read_s: float
    write_s: float
    per_address: int
    in_all: int


class OpenConnections:
    """Counts the connections that are open, by address, and those that linger."""

    def __init__(self, limits: Limits, draining: Draining | None = None) -> None:
        self.limits = limits
        self.draining = draining or Draining()
        self.lingering = 0
        self._open: Counter[str] = Counter()
        self._count = 0

    def enter(self, address: str) -> ModelError | None:
        """Count a connection, and return why it cannot be served, if it cannot."""
        self._open[address] += 1
        self._count += 1
        if self._count > self.limits.in_all:
            return ModelError(
                "overloaded",
                f"The server has {self.limits.in_all} open connections, as many as its limit of "
                "open files allows. Try again in a moment.",
            )
        if self._open[address] > self.limits.per_address:
            return ModelError(
                "rate_limit",
                f"Your address already has {self.limits.per_address} open connections. "
                "Close some, or raise server.max_connections_per_address in polyvox.toml.",
            )
        return None

    def leave(self, address: str) -> None:
        self._count -= 1
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class Guard:
    """One connection: counted until it leaves, and closed if its client stops reading."""

    def __init__(self, open_connections: OpenConnections, client: tuple[str, int] | None) -> None:
        self.limits = open_connections.limits
        self._connections = open_connections
        self._address: str | None = client[0] if client else ""
        self._unread = 0
        self._unread_since = 0.0
        self._checks_left: int | None = None
        self._bytes_left = 0
        self.refusal = open_connections.enter(self._address)

    def leave(self) -> None:
        """Stop counting the connection."""
        self.stop_lingering()
        if self._address is not None:
            self._connections.leave(self._address)
            self._address = None

    def linger(self) -> bool:
        """Begin to linger. Return False if too many connections do."""
        if self._checks_left is None:
            if self._connections.lingering >= max(1, self.limits.in_all // _LINGERING_SHARE):
                return False
            self._connections.lingering += 1
            self._checks_left, self._bytes_left = LINGER_S, LINGER_BYTES
        return True

    def stop_lingering(self) -> None:
        if self._checks_left is not None:
            self._connections.lingering -= 1
            self._checks_left = None

    def has_lingered(self, *, size: int = 0, checks: int = 0) -> bool:
        """Count bytes and checks of a lingering connection. Return True when it is to be closed."""
        if self._checks_left is None:
            return False
        self._checks_left -= checks
        self._bytes_left -= size
        return self._checks_left < 0 or self._bytes_left < 0

    def close_if_unread(self, transport: asyncio.Transport, now: float) -> None:
        """Close a connection whose client reads next to nothing for ``write_s``."""
        unread = transport.get_write_buffer_size()
        if not unread or not self._unread - _TAKEN_BYTES < unread <= self._unread:
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since > self.limits.write_s:
            log.info("A client read nothing for %g s; it was cut off.", self.limits.write_s)
            transport.abort()
