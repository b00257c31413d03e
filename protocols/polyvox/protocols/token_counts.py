"""Reads the numbers of a ``usage`` object, whatever a server put in their place."""

from polyvox.workflows.conversation import Json

_MOST = 2**53
"""What JSON's numbers tell apart; sums of such counts still fit where they are stored."""


def count(json: Json, *path: str) -> int | None:
    """Return the whole number at ``path``, None where there is none."""
    for member in path:
        json = json.get(member) if isinstance(json, dict) else None
    return json if type(json) is int and 0 <= json <= _MOST else None
