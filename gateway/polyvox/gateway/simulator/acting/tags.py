"""Find elements like ``<answer id="A">...</answer>`` in a text in one pass."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Element:
    """``end`` is the offset after its closing tag."""

    attributes: str
    text: str
    end: int


def elements(text: str, *names: str) -> Iterator[Element]:
    """Yield the outermost elements with one of these names, in order.

    A regular expression for the whole element would take quadratic time on unclosed tags.
    """
    named = "|".join(names)
    closings: dict[str, list[int]] = {}
    for closing in re.finditer(rf"</({named})>", text, re.I):
        closings.setdefault(closing[1].lower(), []).append(closing.start())
    after = 0
    for opening in re.finditer(rf"<({named})\b([^<>]*)>", text, re.I):
        ends = closings.get(opening[1].lower(), [])
        at = bisect_left(ends, opening.end())
        if opening.start() >= after and at < len(ends):
            after = ends[at] + len(opening[1]) + 3
            yield Element(opening[2], text[opening.end() : ends[at]], after)
