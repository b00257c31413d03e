"""Regular expressions in time that grows with the text alone.

``re`` tries one way after another and can take a time that is exponential in the text; nothing can
interrupt it. An expression an operator or a client chose, searched in a text a stranger wrote, is
therefore matched by a set of states that moves over the text once (Thompson, 1968), and the moves
are remembered. The expression is read by Python's own parser, so its syntax and its classes of
characters are those of ``re``. What needs to look back or ahead is refused, except looking ahead
right after a ``^`` that begins the expression, the usual way to state several rules for a password.
"""

import re
from functools import lru_cache
from re import _compiler, _constants, _parser  # type: ignore[attr-defined]  # not in typeshed
from typing import Any

_MOST_NODES = 2000
_MOST_MOVES = 20_000

_NOTHING, _WORD, _NEWLINE, _OTHER = range(4)
"""What stands before a place in the text."""

_Node = tuple[str, Any, Any]
"""("one", matcher, next), ("any of", nexts, None), ("at", kind, next), ("end", None, None)."""


class PatternError(ValueError):
    """The expression is not one, or not one that can be matched in linear time."""


@lru_cache(maxsize=256)
def linear_pattern(expression: str) -> "LinearPattern":
    """Return the compiled ``expression``. Raises PatternError with what to change."""
    return LinearPattern(expression)


class LinearPattern:
    """Searches an expression; see the module's head."""

    def __init__(self, expression: str) -> None:
        try:
            parsed = _parser.parse(expression)
        except (re.error, OverflowError, RecursionError) as error:
            raise PatternError(
                f"{expression!r:.200} is not a regular expression: {error}"
            ) from None
        items, flags = list(parsed), parsed.state.flags
        ahead: list[tuple[bool, Any]] = []
        if items and items[0] == (_constants.AT, _constants.AT_BEGINNING):
            while len(items) > 1 and items[1][0] in (_constants.ASSERT, _constants.ASSERT_NOT):
                kind, (direction, inner) = items.pop(1)
                if direction < 0:
                    raise PatternError(_UNUSABLE.format(expression, "looks behind"))
                ahead.append((kind is _constants.ASSERT, [items[0], *inner]))
        if ahead and flags & re.MULTILINE:
            raise PatternError(_UNUSABLE.format(expression, "looks ahead at each line"))
        self._ahead = [(wanted, _Machine(expression, some, flags)) for wanted, some in ahead]
        self._machine = _Machine(expression, items, flags)

    def search(self, text: str) -> bool:
        """Whether the expression matches anywhere in ``text``."""
        return all(m.search(text) is wanted for wanted, m in self._ahead) and self._machine.search(
            text
        )


_UNUSABLE = (
    "The expression {0!r:.200} {1}, and matching that can take for ever. Write it without, or as "
    "several expressions."
)


class _Machine:
    """The states of one expression, and the moves between them that were made so far."""

    def __init__(self, expression: str, items: list[Any], flags: int) -> None:
        self._expression = expression
        self._nodes: list[_Node] = [("end", None, None)]
        try:
            self._start = self._sequence(items, 0, flags)
        except RecursionError:
            raise PatternError(_UNUSABLE.format(expression, "is nested too deeply")) from None
        self._moves: dict[Any, Any] = {}

    def search(self, text: str) -> bool:
        state, before, last = frozenset((self._start,)), _NOTHING, len(text) - 1
        for at, character in enumerate(text):
            key = (state, before, character, character == "\n" and at == last)
            move = self._moves.get(key)
            if move is None:
                move = self._move(*key)
                if len(self._moves) >= _MOST_MOVES:
                    self._moves.clear()
                self._moves[key] = move
            if move is True:
                return True
            state, before = move
        return self._move(state, before, "", True) is True

    def _move(self, state: frozenset[int], before: int, character: str, last: bool) -> Any:
        """Return True for a match before ``character``, else the next state and what it is in."""
        following = {self._start}
        seen: set[int] = set()
        waiting = list(state)
        while waiting:
            number = waiting.pop()
            if number in seen:
                continue
            seen.add(number)
            kind, what, then = self._nodes[number]
            if kind == "end":
                return True
            if kind == "any of":
                waiting += what
            elif kind == "at":
                if _holds(what, before, character, last):
                    waiting.append(then)
            elif character and what(character):
                following.add(then)
        return frozenset(following), _kind(character)

    def _add(self, node: _Node) -> int:
        if len(self._nodes) >= _MOST_NODES:
            raise PatternError(_UNUSABLE.format(self._expression, "repeats too much"))
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _sequence(self, items: Any, then: int, flags: int) -> int:
        """Add the nodes of ``items`` before node ``then``; return the first."""
        for item in reversed(list(items)):
            then = self._item(item, then, flags)
        return then

    def _item(self, item: Any, then: int, flags: int) -> int:
        kind, value = item
        match str(kind):
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "CATEGORY":
                return self._add(("one", _one(item, flags), then))
            case "BRANCH":
                branches = [self._sequence(branch, then, flags) for branch in value[1]]
                return self._add(("any of", branches, None))
            case "SUBPATTERN":
                _, added, removed, inner = value
                return self._sequence(inner, then, (flags | added) & ~removed)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = value
                return self._repeated(least, most, inner, then, flags)
            case "AT":
                at = str(value)
                if at in ("AT_BEGINNING", "AT_END") and flags & re.MULTILINE:
                    at += "_LINE"
                return self._add(("at", at, then))
            case name:
                what = _REFUSED.get(name, f"uses {name.lower().replace('_', ' ')}")
                raise PatternError(_UNUSABLE.format(self._expression, what))

    def _repeated(self, least: int, most: Any, inner: Any, then: int, flags: int) -> int:
        if most is _constants.MAXREPEAT:
            nexts: list[int] = []
            loop = self._add(("any of", nexts, None))
            nexts += [self._sequence(inner, loop, flags), then]
            then = loop
        else:
            end = then
            for _ in range(most - least):
                then = self._add(("any of", [self._sequence(inner, then, flags), end], None))
        for _ in range(least):
            then = self._sequence(inner, then, flags)
        return then


_REFUSED = {
    "ASSERT": "looks ahead or behind",
    "ASSERT_NOT": "looks ahead or behind",
    "GROUPREF": "refers back to a group",
    "GROUPREF_EXISTS": "refers back to a group",
}


def _one(item: Any, flags: int) -> Any:
    """Return what tells whether one character matches ``item``, by Python's own compiler."""
    state = _parser.State()
    state.flags = flags & ~re.DEBUG
    return _compiler.compile(_parser.SubPattern(state, [item]), state.flags).match


def _kind(character: str) -> int:
    if character == "\n":
        return _NEWLINE
    return _WORD if character.isalnum() or character == "_" else _OTHER


def _holds(at: str, before: int, character: str, last: bool) -> bool:
    """Whether the place between what was ``before`` and ``character`` is one of that kind."""
    match at:
        case "AT_BEGINNING" | "AT_BEGINNING_STRING":
            return before == _NOTHING
        case "AT_BEGINNING_LINE":
            return before in (_NOTHING, _NEWLINE)
        case "AT_END":
            return last and character in ("", "\n")
        case "AT_END_LINE":
            return character in ("", "\n")
        case "AT_END_STRING":
            return not character
        case _:
            boundary = (before == _WORD) is not (bool(character) and _kind(character) == _WORD)
            return boundary is (at == "AT_BOUNDARY")
