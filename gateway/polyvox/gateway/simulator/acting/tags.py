"""Elements like ``<answer id="A">...</answer>`` in a text, found in one pass over it."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Element:
    """``end`` is where its closing tag ends."""

    attributes: str
    text: str
    end: int


def elements(text: str, *names: str) -> Iterator[Element]:
    """Yield the elements of one of these names that do not lie in another one, in order.

    An expression over the whole element would look for the end of the text at each tag that is
    never closed.
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
