"""Header values made of untrusted texts.

The name of a field, a model or an error may contain line ends, NUL or any Unicode character. In a
header such a text breaks the connection or starts another header. Every header value that is not
a constant of Polyvox is encoded here.
"""

from collections.abc import Iterable
from urllib.parse import quote

LONGEST_VALUE = 1024

LONGEST_LIST = 2048
"""Clients and proxies accept a few KiB of headers; a list of losses must not use them up."""

_VISIBLE = " !\"#$&'()*+-./:;<=>?@[\\]^_`{|}~"
_CUT = "..."


def header_value(text: str, longest: int = LONGEST_VALUE) -> str:
    """Return ``text`` in visible ASCII, all else percent-encoded, at most ``longest`` long."""
    encoded = quote(text[:longest], safe=_VISIBLE + ",", errors="replace").strip()
    if len(encoded) <= longest and len(text) <= longest:
        return encoded
    return _whole(encoded[: longest - len(_CUT)]) + _CUT


def header_list(texts: Iterable[str], longest: int = LONGEST_LIST) -> str:
    """Return ``texts`` as a comma-separated list; those that do not fit are only counted."""
    shown: list[str] = []
    size = left_out = 0
    for text in texts:
        item = quote(text[:LONGEST_VALUE], safe=_VISIBLE, errors="replace").strip()
        if left_out or size + len(item) > longest:
            left_out += 1
            continue
        shown.append(item)
        size += len(item) + 2
    if left_out:
        shown.append(f"... and {left_out} more")
    return ", ".join(shown)


def _whole(encoded: str) -> str:
    """Return ``encoded`` without half of a percent-encoded byte at its end."""
    at = encoded.rfind("%", -2)
    return encoded if at < 0 else encoded[:at]
