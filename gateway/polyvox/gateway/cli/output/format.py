"""Format durations, tokens, money and notes as text.

Text from clients and providers is wrapped in Text without its control characters, so that it can
neither style nor control the terminal.
"""

import math
from datetime import datetime

import orjson
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from polyvox.workflows.conversation import Json
from polyvox.workflows.reply import Cost, Usage

UNKNOWN = "-"


def plain(text: str, style: str = "") -> Text:
    return Text("".join(c if c.isprintable() else " " for c in text), style=style)


def plain_table(*heads: str) -> Table:
    """Return a table without lines and without rows."""
    return Table(*heads, box=None, pad_edge=False)


def minute(moment: datetime) -> str:
    """Return ``moment`` in local time."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {seconds} s"


def tokens(usage: Usage) -> str:
    """Return the counts as they are billed: new input, cached input, output."""
    if usage == Usage():
        return "unknown"
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
    calls = "1 call" if cost.unknown == 1 else f"{cost.unknown} calls"
    return f"at least {dollars(cost.usd)} ({calls} unknown)"


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
