"""Render runs as text: a table of many, a tree of one."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from polyvox.activities.ledger.tables import CallRow, RunRecord
from polyvox.gateway.cli.output.format import (
    UNKNOWN,
    add_note,
    brief_duration,
    compact,
    count,
    dollars,
    duration,
    money,
    plain,
    plain_table,
    short_ids,
    shortened,
    tokens,
)
from polyvox.workflows.errors import FAULTS
from polyvox.workflows.reply import Cost

STATUS_STYLE = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "interrupted": "yellow",
    "running": "cyan",
}

WIDE = 130
"""The columns that a table with all facts and whole ids needs."""

_MEANINGS: dict[str, str] = {kind: fault.meaning for kind, fault in FAULTS.items()}


def render_runs(runs: Sequence[RunRecord], width: int = WIDE) -> RenderableType:
    """Render a table with one row for each run, in the given order, for a terminal of ``width``.

    Below ``WIDE`` columns it has the beginnings of ids, no flow, and the error's kind as status.
    """
    if not runs:
        return Text("No runs.")
    return _narrow(runs, width) if width < WIDE else _wide(runs)


_NARROW = ("RUN", "STARTED", "MODEL", "STATUS", "TIME", "IN", "OUT", "COST")
_MODEL, _STATUS = _NARROW.index("MODEL"), _NARROW.index("STATUS")
_GAP = 2
_LONGEST_STATUS = 14


def _narrow(runs: Sequence[RunRecord], width: int) -> RenderableType:
    """Render rows that fit: names of models get the width that the other columns leave."""
    ids = short_ids([run.run_id for run in runs])
    rows = [_narrow_row(run, run_id) for run, run_id in zip(runs, ids, strict=True)]
    widths = [max(map(len, column)) for column in zip(_NARROW, *rows, strict=True)]
    left = width - sum(widths) + widths[_MODEL] - _GAP * (len(_NARROW) - 1)
    table = plain_table()
    for at, name in enumerate(_NARROW):
        table.add_column(name, justify="right" if at > _STATUS else "left", no_wrap=True)
    for run, row in zip(runs, rows, strict=True):
        row[_MODEL] = shortened(row[_MODEL], max(left, len("MODEL")))
        cells = [plain(text) for text in row]
        cells[_STATUS] = plain(row[_STATUS], STATUS_STYLE.get(run.status, ""))
        table.add_row(*cells)
    return table


def _narrow_row(run: RunRecord, run_id: str) -> list[str]:
    return [
        run_id,
        f"{run.started_at.astimezone():%m-%d %H:%M}",
        run.model,
        shortened(run.error_kind or run.status, _LONGEST_STATUS),
        brief_duration(run.duration_ms),
        compact(_tokens_in(run)),
        compact(run.usage.output),
        _short(run.cost).replace(" ", ""),
    ]


def _tokens_in(run: RunRecord) -> int | None:
    known = run.usage.input is not None or run.usage.whole_input > 0
    return run.usage.whole_input if known else None


def _wide(runs: Sequence[RunRecord]) -> RenderableType:
    table = plain_table()
    table.add_column("RUN", no_wrap=True, overflow="fold")
    for name in ("STARTED", "MODEL", "FLOW", "STATUS"):
        table.add_column(name)
    for name in ("DURATION", "IN", "OUT", "COST"):
        table.add_column(name, justify="right")
    table.add_column("ERROR")
    for run in runs:
        table.add_row(
            plain(run.run_id),
            f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}",
            plain(run.model),
            plain(run.flow),
            _status(run.status),
            duration(run.duration_ms),
            count(_tokens_in(run)),
            count(run.usage.output),
            _short(run.cost),
            plain(run.error_kind or ""),
        )
    return table


def render_tree(run: RunRecord, link: str | None) -> RenderableType:
    """Render a run, with its calls in order of their start, its notes, and the link below it."""
    spent = run.spent if run.calls else run.usage
    tree = Tree(
        _line(
            Text("run ", style="bold") + plain(run.run_id),
            plain(run.flow),
            Text("model ") + plain(run.model),
            _status(run.status),
            Text(duration(run.duration_ms)) if run.ended_at else None,
            Text(f"tokens {tokens(spent)}"),
            Text(f"cost {money(run.cost)}") if run.calls else None,
            Text("rerun of ") + plain(run.rerun_of) if run.rerun_of else None,
        ),
        guide_style="dim",
    )
    if run.error_kind is not None:
        failed = tree.add(_failure(run.error_kind, run.error_message))
        if run.error_trace:
            for line in run.error_trace.rstrip().splitlines():
                failed.add(plain(line))
    for call in run.calls:
        node = tree.add(_call(call))
        if call.error_kind is not None:
            node.add(_failure(call.error_kind, call.error_message, call.http_status))
        elif call.error_message is not None:
            node.add(plain(call.error_message, "yellow"))
    for note in run.notes:
        add_note(tree, note)
    for loss in run.losses:
        tree.add(Text("not carried over: ", style="dim") + plain(loss))
    if link is None:
        return tree
    return Group(tree, Text(link, style=f"link {link}", overflow="fold"))


def _call(call: CallRow) -> Text:
    if call.status == "running":
        return _line(
            plain(call.step, "bold"),
            plain(f"{call.provider}:{call.model}"),
            Text(f"attempt {call.attempt}"),
            _status(call.status),
        )
    first = call.first_token_ms
    timing = f"total {duration(call.duration_ms)}"
    return _line(
        plain(call.step, "bold"),
        plain(f"{call.provider}:{call.model}"),
        Text("from the record" if call.recorded else f"attempt {call.attempt}"),
        _status(call.status),
        Text(timing if first is None else f"first token {duration(first)}, {timing}"),
        Text(f"tokens {tokens(call.usage)}"),
        Text(f"cost {dollars(call.cost_usd)}"),
    )


def _failure(kind: str, message: str | None, http_status: int | None = None) -> Text:
    """Return the meaning of the error kind, then the provider's message."""
    text = Text(_MEANINGS.get(kind, "An error kind that this version does not know."), style="red")
    text.append(f" ({kind}" + (f", HTTP {http_status})" if http_status else ")"), style="dim")
    if message:
        text.append(" ").append_text(plain(message))
    return text


def _line(*parts: Text | None) -> Text:
    return Text("  ").join(part for part in parts if part is not None)


def _short(cost: Cost) -> str:
    """Return the cost for a column; after ">" it is the known part of the cost."""
    if not cost.unknown:
        return dollars(cost.usd)
    return f"> {dollars(cost.usd)}" if cost.usd > 0 else UNKNOWN


def _status(status: str) -> Text:
    return plain(status, STATUS_STYLE.get(status, ""))
