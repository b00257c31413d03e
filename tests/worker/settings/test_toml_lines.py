"""The line of each key of a TOML document."""

import tomllib
from typing import Any

import pytest

from polyvox.worker.settings.toml_lines import Path, lines_of

DOCUMENT = '''# a comment with [brackets] and = signs
title = "x # y"
[server]
port = 1  # note
"ho st" = 'a'

[models."a/b.c"]
params = { main = "x:y", panel = [
  "a:b",
  "c:d", # foo ]
], deep = { "z\\u0041" = 1 } }
a.b.c = 3
text = """
[not.a.table]
x = 1 \\"""
"""
raw = \'\'\'
[nor.this]
\'\'\'
[providers.one.prices."*"]
when = 2026-01-31T12:00:00Z
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("server",), 3),
        (("server", "port"), 4),
        (("server", "ho st"), 5),
        (("models", "a/b.c"), 7),
        (("models", "a/b.c", "params", "main"), 8),
        (("models", "a/b.c", "params", "panel", "1"), 10),
        (("models", "a/b.c", "params", "deep", "zA"), 11),
        (("models", "a/b.c", "a", "b", "c"), 12),
        (("models", "a/b.c", "text"), 13),
        (("models", "a/b.c", "raw"), 17),
        (("providers", "one", "prices", "*", "when"), 21),
    ],
)
def test_a_key_has_its_line(path: Path, line: int) -> None:
    assert lines_of(DOCUMENT)[path] == line


def paths(value: Any, path: Path = ()) -> set[Path]:
    """Return the paths of all keys and items below ``value``."""
    if not isinstance(value, dict | list):
        return {path}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    below = (paths(item, (*path, str(name))) for name, item in pairs)
    return {path, *(found for each in below for found in each)} - {()}


def test_exactly_the_keys_of_the_document_are_found() -> None:
    """Nothing inside a string or a comment is taken for a key."""
    assert {*lines_of(DOCUMENT)} == paths(tomllib.loads(DOCUMENT))
