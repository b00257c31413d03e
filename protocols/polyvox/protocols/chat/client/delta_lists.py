"""Numbers the entries of lists in the deltas of a Chat Completions stream.

Clients merge the list members of a delta by their entries' ``index``: the OpenAI SDK 3.54 refuses
an entry without one as soon as a second chunk has the member. So every entry gets the number of its
place in the list of the whole answer, whatever its provider wrote and however many model calls the
answer is made of.
"""

from typing import Final

from polyvox.workflows.conversation import Json

_NUMBERED: Final = frozenset({"tool_calls"})
"""Members whose entries the encoder numbers itself."""

Path = tuple[str | int, ...]


class DeltaLists:
    """The lists of one answer: how many entries each has, and where a provider's entries are."""

    def __init__(self) -> None:
        self._lengths: dict[Path, int] = {}
        self._places: dict[tuple[Path, int], int] = {}

    def begin_call(self) -> None:
        """Begin the answer of another model call: its entries follow those of the ones before."""
        self._places = {}

    def numbered(self, delta: dict[str, Json]) -> dict[str, Json]:
        """Return ``delta`` with an ``index`` in every entry of its lists."""
        return {
            name: value if name in _NUMBERED else self._value(value, (name,))
            for name, value in delta.items()
        }

    def _value(self, value: Json, path: Path) -> Json:
        if isinstance(value, dict):
            return {name: self._value(inner, (*path, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._entry(entry, path) for entry in value]
        return value

    def _entry(self, entry: Json, path: Path) -> Json:
        if not isinstance(entry, dict):
            return entry
        index = self._place(entry.get("index"), path)
        return {**self._value(entry, (*path, index)), "index": index}

    def _place(self, index: Json, path: Path) -> int:
        """Return the entry's place; ``index`` is its provider's index, by which it continues."""
        known = self._places.get((path, index)) if type(index) is int else None
        if known is not None:
            return known
        place = self._lengths.get(path, 0)
        self._lengths[path] = place + 1
        if type(index) is int:
            self._places[path, index] = place
        return place
