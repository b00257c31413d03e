"""Format durations, tokens, money and notes as text.

Text from clients and providers is wrapped in Text without its control characters, so that it can
neither style nor control the terminal.
"""

import math
from collections.abc import Sequence
from datetime import datetime

import orjson
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from polyvox.workflows.conversation import Json
from polyvox.workflows.reply import Cost, Usage

UNKNOWN = "-"

RUN_PREFIX = "run_"
SHORTEST_ID = 12
"""The digits of an id that are its time in milliseconds."""


def plain(text: str, style: str = "") -> Text:
    return Text("".join(c if c.isprintable() else " " for c in text), style=style)


def plain_table(*heads: str) -> Table:
    """Return a table without lines and without rows."""
    return Table(*heads, box=None, pad_edge=False)


def minute(moment: datetime) -> str:
    """Return ``moment`` in local time."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def short_ids(run_ids: Sequence[str]) -> list[str]:
    """Return the beginning of each id without ``run_``, long enough to tell them apart.

    Runs that began in the same millisecond get more digits.
    """
    bare = [run_id.removeprefix(RUN_PREFIX) for run_id in run_ids]
    length = SHORTEST_ID
    while len({name[:length] for name in bare}) < len({*bare}):
        length += 1
    return [name[:length] for name in bare]


def compact(number: int | None) -> str:
    """Return a count in at most five characters: 340, 1.5k, 12k, 3.4M."""
    if number is None or number < 1000:
        return UNKNOWN if number is None else str(number)
    for unit, size in (("k", 1_000), ("M", 1_000_000)):
        if number < size * 999.5:
            return (
                f"{number / size:.1f}{unit}"
                if number < 9.95 * size
                else f"{number / size:.0f}{unit}"
            )
    return f"{number / 1_000_000_000:.1f}G"


def duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {seconds} s"


def brief_duration(milliseconds: int | None) -> str:
    """Return a duration in at most six characters: 216ms, 12.3s, 12m34s, 2h05m."""
    if milliseconds is None or milliseconds < 60_000:
        return duration(milliseconds).replace(" ", "")
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes}m{seconds:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def shortened(text: str, width: int) -> str:
    """Return ``text``, or its beginning and an ellipsis if it is longer than ``width``."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def tokens(usage: Usage) -> str:
    """Return the counts as they are billed: new input, cached input, output.

    If those of some calls are unknown, the others are the least that was used.
    """
    if usage.meters == Usage():
        return "unknown"
    if usage.unknown:
        return f"at least {tokens(usage.meters)} ({unknown_calls(usage.unknown)})"
    read = f" + {count(usage.cache_read)} from cache" if usage.cache_read else ""
    written = f" + {count(usage.cache_write)} to cache" if usage.cache_write else ""
    if usage.cache_write_1h:
        written += f" + {count(usage.cache_write_1h)} to cache for 1 hour"
    reasoning = f" ({count(usage.reasoning)} reasoning)" if usage.reasoning else ""
    return f"in {count(usage.input)}{read}{written}, out {count(usage.output)}{reasoning}"


def count(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def dollars(usd: float | None) -> str:
    """Return an amount with at least two significant digits: $0.00042, $0.0123, $4.20."""
    if usd is None:
        return "unknown"
    if usd <= 0:
        return "$0"
    digits = max(2, min(9, 1 - math.floor(math.log10(usd))))
    return f"${usd:,.{digits}f}"


def money(cost: Cost) -> str:
    """Return what calls cost. An unknown cost does not count as zero."""
    if not cost.unknown:
        return dollars(cost.usd)
    if cost.usd <= 0:
        return "unknown"
    return f"at least {dollars(cost.usd)} ({unknown_calls(cost.unknown)})"


def unknown_calls(number: int) -> str:
    return "1 call unknown" if number == 1 else f"{number} calls unknown"


def add_note(tree: Tree, note: Json) -> None:
    """Add a note as one line, with its lists and objects below it."""
    head = Text("note: ", style="dim")
    if not isinstance(note, dict):
        tree.add(head + plain(_word(note)))
        return
    facts = {name: fact for name, fact in note.items() if name != "what"}
    nested = {name: fact for name, fact in facts.items() if isinstance(fact, dict | list) and fact}
    words = [_word(note.get("what", ""))]
    words += [f"{name}: {_word(fact)}" for name, fact in facts.items() if name not in nested]
    node = tree.add(head + plain("  ".join(words)))
    for name, fact in nested.items():
        _add_facts(node.add(plain(name)), fact)


def _add_facts(tree: Tree, facts: Json) -> None:
    named = facts.items() if isinstance(facts, dict) else (("", fact) for fact in facts)
    for name, fact in named:
        if isinstance(fact, dict | list) and fact:
            _add_facts(tree.add(plain(name or "·")), fact)
        else:
            tree.add(plain(f"{name}: {_word(fact)}" if name else _word(fact)))


def _word(value: Json) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
