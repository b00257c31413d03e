"""Runs for people's eyes: a table of many, a tree of one.

Values in, rich renderables out. Everything that came from outside is put into Text and loses its
control characters, so that a provider's message can neither style nor steer the terminal.
"""

from collections.abc import Sequence

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from polyvox.activities.records import CallRecord, RunRecord
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import FAULTS
from polyvox.workflows.reply import Usage

STATUS_STYLE = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}
UNKNOWN = "-"

_MEANINGS: dict[str, str] = {kind: fault.meaning for kind, fault in FAULTS.items()}


def render_runs(runs: Sequence[RunRecord]) -> RenderableType:
    """Render a table, one run a row, in the order given."""
    if not runs:
        return Text("No runs.")
    table = Table(box=None, pad_edge=False)
    table.add_column("RUN", no_wrap=True, overflow="fold")
    for name in ("STARTED", "MODEL", "FLOW", "STATUS"):
        table.add_column(name)
    for name in ("DURATION", "IN", "OUT"):
        table.add_column(name, justify="right")
    table.add_column("ERROR")
    for run in runs:
        known = run.usage.input is not None or run.usage.whole_input > 0
        table.add_row(
            _plain(run.run_id),
            f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}",
            _plain(run.model),
            _plain(run.flow),
            _status(run.status),
            _duration(run.duration_ms),
            _count(run.usage.whole_input if known else None),
            _count(run.usage.output),
            _plain(run.error_kind or ""),
        )
    return table


def render_tree(run: RunRecord, link: str | None) -> RenderableType:
    """Render a run, below it its calls in the order they started, its notes, and the link."""
    spent = run.spent if run.calls else run.usage
    tree = Tree(
        _line(
            Text("run ", style="bold") + _plain(run.run_id),
            _plain(run.flow),
            Text("model ") + _plain(run.model),
            _status(run.status),
            Text(_duration(run.duration_ms)) if run.ended_at else None,
            Text(f"tokens {_tokens(spent)}"),
            Text("again, as ") + _plain(run.rerun_of) if run.rerun_of else None,
        ),
        guide_style="dim",
    )
    if run.error_kind is not None:
        failed = tree.add(_failure(run.error_kind, run.error_message))
        if run.error_trace:
            for line in run.error_trace.rstrip().splitlines():
                failed.add(_plain(line))
    for call in run.calls:
        node = tree.add(_call(call))
        if call.error_kind is not None:
            node.add(_failure(call.error_kind, call.error_message, call.http_status))
    for note in run.notes:
        tree.add(Text("note: ", style="dim") + _plain(_note(note)))
    for loss in run.losses:
        tree.add(Text("not carried over: ", style="dim") + _plain(loss))
    if link is None:
        return tree
    return Group(tree, Text(link, style=f"link {link}", overflow="fold"))


def _call(call: CallRecord) -> Text:
    first = call.first_token_ms
    timing = f"total {_duration(call.duration_ms)}"
    return _line(
        _plain(call.step, "bold"),
        _plain(f"{call.provider}:{call.model}"),
        Text("from the record" if call.recorded else f"attempt {call.attempt}"),
        _status(call.status),
        Text(timing if first is None else f"first token {_duration(first)}, {timing}"),
        Text(f"tokens {_tokens(call.usage)}"),
    )


def _failure(kind: str, message: str | None, http_status: int | None = None) -> Text:
    """What it means in plain words, then what the other side said."""
    text = Text(_MEANINGS.get(kind, "An error this version does not know."), style="red")
    text.append(f" ({kind}" + (f", HTTP {http_status})" if http_status else ")"), style="dim")
    if message:
        text.append(" ").append_text(_plain(message))
    return text


def _line(*parts: Text | None) -> Text:
    return Text("  ").join(part for part in parts if part is not None)


def _status(status: str) -> Text:
    return _plain(status, STATUS_STYLE.get(status, ""))


def _duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {seconds} s"


def _tokens(usage: Usage) -> str:
    """The meters apart from each other, as they are billed: fresh input, cached, output."""
    if usage == Usage():
        return "unknown"
    read = f" + {_count(usage.cache_read)} from cache" if usage.cache_read else ""
    written = f" + {_count(usage.cache_write)} to cache" if usage.cache_write else ""
    reasoning = f" ({_count(usage.reasoning)} reasoning)" if usage.reasoning else ""
    return f"in {_count(usage.input)}{read}{written}, out {_count(usage.output)}{reasoning}"


def _count(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def _note(note: Json) -> str:
    return note if isinstance(note, str) else orjson.dumps(note).decode()


def _plain(text: str, style: str = "") -> Text:
    return Text("".join(c if c.isprintable() else " " for c in text), style=style)
