"""Polyvox keys: what they look like, and for how long a look-up may be believed."""

import hashlib
import secrets
import time
from collections.abc import Callable

SECRET_PREFIX = "pvx-"
FRESH_S = 1.0
REMEMBERED = 4096


def new_secret() -> str:
    """A secret of 192 random bits: ``pvx-`` and 32 URL-safe characters."""
    return SECRET_PREFIX + secrets.token_urlsafe(24)


def new_key_id() -> str:
    """A short public name for a key, safe to show and to log."""
    return f"key_{secrets.token_hex(5)}"


def digest(secret: str) -> str:
    """What is stored instead of the secret: SHA-256, in hex.

    A slow password hash is not needed for a random secret, and would cost every request. Looking
    a hash up gives an attacker nothing to time: he cannot choose the hash's leading digits.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class KeyCache:
    """Remembers look-ups, hits and misses alike, for one second.

    So a busy client costs one query a second, and a key revoked by another process dies within
    that second.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[str, tuple[float, str | None]] = {}

    def get(self, sha256: str) -> tuple[bool, str | None]:
        """Return whether a fresh answer is known, and the answer: a key id or None."""
        found = self._found.get(sha256)
        if found is None or found[0] <= self._clock():
            return False, None
        return True, found[1]

    def put(self, sha256: str, key_id: str | None) -> None:
        if len(self._found) >= REMEMBERED:
            # Only a flood of wrong keys fills it; the right ones are back after one query.
            self._found.clear()
        self._found[sha256] = (self._clock() + FRESH_S, key_id)

    def clear(self) -> None:
        self._found.clear()
