"""Render changes of virtual models as text."""

from collections.abc import Sequence

import orjson
from rich.console import Group, RenderableType
from rich.text import Text

from polyvox.activities.registry.virtual_models import Difference, Plan
from polyvox.workflows.conversation import Json

_MARKS = {
    "created": ("+", "green"),
    "changed": ("~", "yellow"),
    "unchanged": ("=", "dim"),
    "retired": ("-", "red"),
}
_LONGEST = 100


def render_plan(plan: Plan) -> RenderableType:
    """Render one line for each model, its changes below it, and the totals."""
    lines: list[RenderableType] = []
    for change in plan:
        mark, style = _MARKS[change.action]
        head = f"{mark} {change.model}  {change.action}  version {change.version}  {change.flow}"
        lines.append(Text(head, style=style))
        if change.differences:
            lines.append(render_differences(change.differences))
    counts = {action: sum(c.action == action for c in plan) for action in _MARKS}
    lines.append(Text(", ".join(f"{n} {action}" for action, n in counts.items()) + "."))
    return Group(*lines)


def render_differences(changed: Sequence[Difference]) -> RenderableType:
    """Render each changed place with its old and its new value, both shortened."""
    lines: list[Text] = []
    for one in changed:
        if one.kind == "added":
            lines.append(Text(f"    + {one.path} = {_shown(one.after)}", style="green"))
        elif one.kind == "removed":
            lines.append(Text(f"    - {one.path} = {_shown(one.before)}", style="red"))
        else:
            lines.append(Text(f"    ~ {one.path}: {_shown(one.before)} -> {_shown(one.after)}"))
    return Group(*lines)


def _shown(value: Json) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
