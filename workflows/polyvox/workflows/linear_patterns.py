"""Regular expressions that match in time linear in the length of the text.

``re`` backtracks, which can take time exponential in the length of the text and cannot be
interrupted. Expressions from operators or clients that are searched in untrusted text are therefore
matched by simulating an NFA (Thompson, 1968) with cached transitions. Python's own parser reads the
expression, so its syntax and character classes are those of ``re``. Backreferences and lookarounds
are rejected, except lookaheads directly after a ``^`` at the start of the expression, which are
commonly used to state several rules for a password.
"""

import re
from functools import lru_cache
from re import _compiler, _constants, _parser  # type: ignore[attr-defined]  # not in typeshed
from typing import Any

_MOST_NODES = 2000
_MOST_MOVES = 20_000

_NOTHING, _WORD, _NEWLINE, _OTHER = range(4)
"""The kind of character before a position in the text."""

_Node = tuple[str, Any, Any]
"""("one", matcher, next), ("any of", nexts, None), ("at", kind, next), ("end", None, None)."""


class PatternError(ValueError):
    """The expression is invalid or cannot be matched in linear time."""


@lru_cache(maxsize=256)
def linear_pattern(expression: str) -> "LinearPattern":
    """Return the compiled ``expression``. Raises PatternError that names the remedy."""
    return LinearPattern(expression)


class LinearPattern:
    """A compiled expression; see the module's docstring."""

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
        self._ahead = [(expected, _Machine(expression, inner, flags)) for expected, inner in ahead]
        self._machine = _Machine(expression, items, flags)

    def search(self, text: str) -> bool:
        """Whether the expression matches anywhere in ``text``."""
        return all(
            m.search(text) is expected for expected, m in self._ahead
        ) and self._machine.search(text)


_UNUSABLE = (
    "The expression {0!r:.200} {1}, which can take unlimited time to match. Remove that, or use "
    "several expressions."
)


class _Machine:
    """The NFA of one expression, with a cache of its transitions."""

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
        """Return True for a match before ``character``, else the next state and the kind of it."""
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
        """Add the nodes of ``items``, which lead to node ``then``; return the first one."""
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
    """Return a function that matches one character against ``item``, made by Python's compiler."""
    state = _parser.State()
    state.flags = flags & ~re.DEBUG
    return _compiler.compile(_parser.SubPattern(state, [item]), state.flags).match


def _kind(character: str) -> int:
    if character == "\n":
        return _NEWLINE
    return _WORD if character.isalnum() or character == "_" else _OTHER


def _holds(at: str, before: int, character: str, last: bool) -> bool:
    """Whether assertion ``at`` holds between a character of kind ``before`` and ``character``."""
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
