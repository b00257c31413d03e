"""Merges deltas: strings are appended, objects merge, list entries with an index merge.

Pieces are joined only on request, so the cost is linear even for a provider that sends a megabyte
in pieces of one character.
"""

from typing import Any, Final

from polyvox.workflows.conversation import Json

# Some servers repeat these in every piece; they are never continued.
_FIXED: Final = frozenset({"index", "id", "type", "format", "name", "role"})


class Grown:
    """An object that is merged from pieces. True if it has any members."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._members)

    def add(self, piece: dict[str, Json]) -> None:
        for name, value in piece.items():
            old = self._members.get(name)
            if value is None and old is not None:
                continue
            match value:
                case str() if isinstance(old, _Words) and name not in _FIXED:
                    old.pieces.append(value)
                case str():
                    self._members[name] = _Words(value)
                case dict():
                    inner = old if isinstance(old, Grown) else Grown()
                    inner.add(value)
                    self._members[name] = inner
                case list():
                    entries = old if isinstance(old, _Entries) else _Entries()
                    entries.add(value)
                    self._members[name] = entries
                case _:
                    self._members[name] = value

    def whole(self) -> dict[str, Json]:
        """Return the object merged so far."""
        return {name: _whole(value) for name, value in self._members.items()}


class _Words:
    __slots__ = ("pieces",)

    def __init__(self, first: str) -> None:
        self.pieces = [first]


class _Entries:
    __slots__ = ("_by_index", "entries")

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._by_index: dict[Json, Grown] = {}

    def add(self, pieces: list[Json]) -> None:
        for piece in pieces:
            if not isinstance(piece, dict):
                self.entries.append(piece)
                continue
            index = piece.get("index")
            entry = None if index is None else self._by_index.get(index)
            if entry is None:
                entry = Grown()
                self.entries.append(entry)
                if index is not None:
                    self._by_index[index] = entry
            entry.add(piece)


def _whole(value: Any) -> Json:
    match value:
        case _Words():
            return "".join(value.pieces)
        case Grown():
            return value.whole()
        case _Entries():
            return [_whole(entry) for entry in value.entries]
        case _:
            return value
