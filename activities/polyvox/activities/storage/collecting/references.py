"""Finds digests in stored bytes, without knowing the format of what contains them.

A digest is stored as 64 hex digits, or as 32 bytes in a list of digests. Whatever looks like one
counts: a false reference keeps a blob that nobody needs, a missed one would lose content.
"""

import re
from collections.abc import Iterator

_HEX = re.compile(rb"[0-9a-f]{64,}")
_HEX_DIGITS = 64

_BYTES = 32
_LONGEST_LIST = 64 * _BYTES
"""Lists of digests are split into shorter ones; see ``conversation_blobs``."""

_BESIDE = 16
"""The hex digits that may be beside a digest by chance, such as the next byte of a message."""


def references(body: bytes) -> Iterator[str]:
    """Yield every digest that ``body`` may contain."""
    if 0 < len(body) <= _LONGEST_LIST and len(body) % _BYTES == 0:
        for at in range(0, len(body), _BYTES):
            yield body[at : at + _BYTES].hex()
    for found in _HEX.finditer(body):
        digits = found.group().decode()
        more = len(digits) - _HEX_DIGITS
        for at in {*range(min(more, _BESIDE) + 1), more}:
            yield digits[at : at + _HEX_DIGITS]
