"""Reads the numbers of a ``usage`` object, whatever a server put in their place."""

from polyvox.workflows.conversation import Json


def count(json: Json, *path: str) -> int | None:
    """Return the whole number at ``path``, None where there is none."""
    for member in path:
        json = json.get(member) if isinstance(json, dict) else None
    return json if isinstance(json, int) else None
