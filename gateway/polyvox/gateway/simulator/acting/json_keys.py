"""Find the keys that a text asks a JSON object to have.

They follow a word such as "keys" ("with the keys name and age") or stand in an example object.
"""

import re
from collections.abc import Sequence

from polyvox.gateway.simulator.acting.question import stable_number
from polyvox.workflows.conversation import Json

_LIST = re.compile(
    r"\b(?:keys?|fields?|properties|property|attributes?|members?)\b"
    r"(?: (?:named|called|are|is))?:?\s*(?P<list>[^.;!?\n{}]{1,400})",
    re.I,
)
_QUOTED = re.compile(r"[\"'`“]([A-Za-z_][\w-]{0,60})[\"'`”]")
_EXAMPLE = re.compile(r"\"([A-Za-z_][\w-]{0,60})\"\s*:")
_NAME = re.compile(r"[A-Za-z_]\w{0,60}")
_BETWEEN = re.compile(r"\s*(?:,|&|\band\b|\bor\b)\s*")
_NOTE = re.compile(r"\([^()]*\)")
_MOST = 50
_NUMBERS = re.compile(
    r"(?:^|_)(?:age|amount|count|id|number|price|quantity|rank|score|size|temperature|total|year)s?"
    r"(?:$|_)"
)
_TRUTHS = re.compile(r"(?:is|has|can)_")


def asked_keys(text: str) -> list[str]:
    """Return the keys in the order of the text; none if it names none."""
    found: list[str] = []
    for listed in _LIST.finditer(text):
        quoted = _QUOTED.findall(listed["list"])
        found += quoted or _bare(listed["list"])
    return list(dict.fromkeys(found or _EXAMPLE.findall(text)))[:_MOST]


def _bare(listed: str) -> list[str]:
    """Return the names of a list without quotes, up to the first item that is not one word."""
    names: list[str] = []
    for item in _BETWEEN.split(_NOTE.sub("", listed)):
        first, *rest = item.split() or [""]
        if not _NAME.fullmatch(first):
            break
        names.append(first)
        if rest:
            break
    return names


def filled(keys: Sequence[str], words: Sequence[str]) -> dict[str, Json]:
    """Return an object with ``keys``: numbers and truth values by their names, else ``words``."""
    return {key: _value(key, words, at) for at, key in enumerate(keys)}


def _value(key: str, words: Sequence[str], at: int) -> Json:
    name = key.lower()
    if _TRUTHS.match(name):
        return True
    if _NUMBERS.search(name):
        return stable_number(key) % 100
    return words[at % len(words)] if words else "simulated"
