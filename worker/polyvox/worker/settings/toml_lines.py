"""The line of each key in a TOML document, which ``tomllib`` does not report.

Scans text that ``tomllib`` has accepted, so malformed text is not considered.
"""

import re

Path = tuple[str, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = tuple(
    re.compile(pattern, re.S)
    for pattern in (
        r'"""(?:\\.|[^\\])*?"{3,5}',
        r"'''.*?'{3,5}",
        r'"(?:\\.|[^"\\])*"',
        r"'[^']*'",
    )
)
_SCALAR = re.compile(r"[^,\]}#\n]+")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.S)


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, counted from 1, on which each key or array item first stands, by its path.

    Items of arrays have their index as a step of the path.
    """
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()
        return self._lines

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _note(self, path: Path, start: int) -> None:
        line = self._text.count("\n", 0, start) + 1
        for end in range(1, len(path) + 1):
            self._lines.setdefault(path[:end], line)

    def _header(self) -> Path:
        """Read ``[table]``; ``[[table]]``, which no setting uses, is read as the same."""
        start = self._at
        brackets = 2 if self._text.startswith("[[", start) else 1
        self._at += brackets
        path = (*self._key(),)
        self._at += brackets
        self._note(path, start)
        return path

    def _pair(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._key())
        self._note(path, start)
        self._at += 1  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        """Read a dotted key up to the character after it."""
        steps: list[str] = []
        while True:
            self._skip()
            if bare := _BARE.match(self._text, self._at):
                steps.append(bare[0])
                self._at = bare.end()
            else:
                steps.append(_unquoted(self._string()))
            self._skip()
            if self._text[self._at] != ".":
                return steps
            self._at += 1

    def _string(self) -> str:
        for pattern in _STRINGS:
            if found := pattern.match(self._text, self._at):
                self._at = found.end()
                return found[0]
        raise ValueError(f"No key or string at offset {self._at}.")

    def _value(self, path: Path) -> None:
        self._skip()
        match self._text[self._at]:
            case "[":
                self._items(path)
            case "{":
                self._at += 1
                self._skip()
                while self._text[self._at] != "}":
                    self._pair(path)
                    self._comma()
                self._at += 1
            case '"' | "'":
                self._string()
            case _:
                found = _SCALAR.match(self._text, self._at)
                assert found is not None
                self._at = found.end()

    def _items(self, path: Path) -> None:
        self._at += 1
        self._skip()
        number = 0
        while self._text[self._at] != "]":
            item = (*path, str(number))
            self._note(item, self._at)
            self._value(item)
            self._comma()
            number += 1
        self._at += 1

    def _comma(self) -> None:
        self._skip()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip()


def _unquoted(string: str) -> str:
    """Return the key that a quoted ``string`` stands for."""
    if string.startswith("'"):
        return string[1:-1]
    simple = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}
    return _ESCAPE.sub(
        lambda e: chr(int(e[1] or e[2], 16)) if e[1] or e[2] else simple.get(e[3], e[3]),
        string[1:-1],
    )
