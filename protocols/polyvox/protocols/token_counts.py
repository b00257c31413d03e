"""Reads the numbers of a ``usage`` object, which may hold anything."""

from polyvox.workflows.conversation import Json

_MOST = 2**53
"""The largest exact integer of JSON readers; sums of such counts still fit into the ledger."""


def count(json: Json, *path: str) -> int | None:
    """Return the non-negative integer at ``path``, or None if it holds anything else."""
    for member in path:
        json = json.get(member) if isinstance(json, dict) else None
    return json if type(json) is int and 0 <= json <= _MOST else None
