"""Polyvox keys: their format, and a cache of look-ups."""

import hashlib
import secrets
import time
from collections.abc import Callable

SECRET_PREFIX = "pvx-"
FRESH_S = 1.0
REMEMBERED = 4096


def new_secret() -> str:
    """Return a secret of 192 random bits: ``pvx-`` and 32 URL-safe characters."""
    return SECRET_PREFIX + secrets.token_urlsafe(24)


def new_key_id() -> str:
    """Return a short public id for a key, which may be shown and logged."""
    return f"key_{secrets.token_hex(5)}"


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret in hex, which is stored instead of it.

    A random secret needs no slow password hash, which would delay every request. The look-up of a
    hash is not open to timing attacks, because attackers cannot choose the hash's leading digits.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class KeyCache:
    """Caches look-ups, both hits and misses, for one second.

    So a busy client costs one query per second, and a key revoked by another process is rejected
    within a second.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[str, tuple[float, str | None]] = {}

    def get(self, sha256: str) -> tuple[bool, str | None]:
        """Return whether a fresh result is cached, and the result: a key id or None."""
        found = self._found.get(sha256)
        if found is None or found[0] <= self._clock():
            return False, None
        return True, found[1]

    def put(self, sha256: str, key_id: str | None) -> None:
        if len(self._found) >= REMEMBERED:
            # Only a flood of invalid keys fills the cache; valid ones are back after one query.
            self._found.clear()
        self._found[sha256] = (self._clock() + FRESH_S, key_id)

    def clear(self) -> None:
        self._found.clear()
