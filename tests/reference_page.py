"""Writes ``docs/reference.md`` from the docstrings of what flow authors use; ``make docs`` runs it.

The examples in the docstrings are lines of a flow's function; ``test_reference.py`` executes them.
"""

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from polyvox import workflows
from polyvox.workflows.boundary.calls import Limits
from polyvox.workflows.run import Run
from polyvox.workflows.steps.ask import Steps

CLASSES: tuple[type, ...] = (
    workflows.Conversation,
    workflows.Message,
    workflows.Text,
    workflows.ToolCall,
    workflows.ToolResult,
    workflows.Tool,
    workflows.ToolChoice,
    workflows.OutputFormat,
    workflows.Options,
    workflows.Reply,
    workflows.Usage,
    workflows.Cost,
    workflows.Branch,
    workflows.Panel,
    workflows.Comparison,
    workflows.MountedTool,
    workflows.Checked,
    Limits,
)

FUNCTIONS: tuple[Callable[..., Any], ...] = (
    workflows.user,
    workflows.assistant,
    workflows.tool_result,
    workflows.schema_complaints,
    workflows.transcribed,
    workflows.points_by_heading,
)

HEAD = """\
# Reference for flow authors

This page is generated from the docstrings (`make docs`), and the tests execute its examples, which
are lines of a flow's function. [Flows](flows.md) explains how they fit together.

Everything here is imported from `polyvox.workflows`. A name with `await` in front must be awaited;
all others return at once. All values are immutable: methods return changed copies.
"""

_MODULE = re.compile(r"\b(?:polyvox\.workflows|collections\.abc|typing)\.(?:\w+\.)*(?=\w)")
_EXAMPLE = re.compile(r"^Examples?::\n\n((?:    .*\n?|\n)+)", re.MULTILINE)


def page() -> str:
    """Return the whole page."""
    lines = [HEAD, "## Run\n", described(Run), *_values(Steps), *_members(Run, "run.")]
    for cls in CLASSES:
        lines += [f"## {cls.__name__}\n", f"```python\n{_call(cls, cls.__name__)}\n```\n"]
        lines += [described(cls), *_members(cls, f"{cls.__name__.lower()}.")]
    lines.append("## Functions\n")
    for function in FUNCTIONS:
        lines += [f"### `{_call(function, function.__name__)}`\n", described(function)]
    return "\n".join(lines).rstrip() + "\n"


def examples() -> Iterator[tuple[str, str]]:
    """Yield the name and the code of each example."""
    for owner in (Run, *CLASSES):
        documented = [(owner.__name__, owner), *_public(owner)]
        for name, member in documented:
            for found in _EXAMPLE.finditer(_docstring(member)):
                where = name if member is owner else f"{owner.__name__}.{name}"
                yield where, textwrap.dedent(found[1]).rstrip()


def described(thing: Any) -> str:
    """Return a docstring as Markdown."""
    text = _EXAMPLE.sub(
        lambda found: f"```python\n{textwrap.dedent(found[1]).rstrip()}\n```\n", _docstring(thing)
    )
    return re.sub(r"(?<!`)``(?!`)", "`", text).rstrip() + "\n"


def _docstring(thing: Any) -> str:
    text = inspect.getdoc(thing.fget if isinstance(thing, property) else thing) or ""
    return "" if text.startswith(f"{getattr(thing, '__name__', '')}(") else f"{text}\n"


def _values(cls: type) -> Iterator[str]:
    """Yield the attributes that are set in ``__init__`` and documented there."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls.__init__))).body[0]  # type: ignore[misc]
    assert isinstance(body, ast.FunctionDef)
    for statement, follower in zip(body.body, body.body[1:], strict=False):
        target = getattr(statement, "target", None) or getattr(statement, "targets", [None])[0]
        text = follower.value if isinstance(follower, ast.Expr) else None
        if isinstance(target, ast.Attribute) and isinstance(text, ast.Constant):
            yield f"### `run.{target.attr}`\n"
            yield str(text.value).replace("``", "`") + "\n"


def _members(cls: type, prefix: str) -> Iterator[str]:
    for name, member in _public(cls):
        if isinstance(member, property):
            yield f"### `{prefix}{name}`\n"
        else:
            awaited = "await " if inspect.iscoroutinefunction(member) else ""
            yield f"### `{awaited}{_call(member, prefix + name)}`\n"
        yield described(member)


def _public(cls: type) -> list[tuple[str, Any]]:
    """Return the documented properties and methods, in their order, those of bases first."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("polyvox."):
            found |= {name: member for name, member in vars(base).items() if name[0] != "_"}
    return [
        (name, member)
        for name, member in found.items()
        if isinstance(member, property) or (inspect.isfunction(member) and name != "on_wire")
    ]


def _call(function: Callable[..., Any], name: str) -> str:
    """Return how a function is called, or a class, without its wire element."""
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "wire")]
    shown = str(signature.replace(parameters=parameters))
    if dataclasses.is_dataclass(function):
        shown = shown.partition(" -> ")[0]
    return name + _MODULE.sub("", shown).replace("'", '"').replace('"Reply"', "Reply")


if __name__ == "__main__":
    sys.stdout.write(page())
