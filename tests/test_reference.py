"""The reference for flow authors: it is the docstrings, and its examples run."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from polyvox import workflows
from polyvox.workflows import Flow, Model, Params
from polyvox.workflows.testing import Rehearsal
from tests.reference_page import examples, page

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}}
EXAMPLES = list(examples())

BEFORE = """\
draft = reply = Reply((Text('{"query": "x"}'),))
"""
"""What the examples have from the lines before them."""


class ExampleParams(Params):
    model: Model = "x:a"
    models: tuple[Model, ...] = ("x:a", "x:b")


def test_the_page_is_what_the_docstrings_say() -> None:
    """`make docs` writes it."""
    assert PAGE.read_text("utf-8") == page()


@pytest.mark.parametrize(("where", "code"), EXAMPLES, ids=[where for where, _ in EXAMPLES])
def test_an_example_runs(where: str, code: str) -> None:
    """As lines of a flow's function, with scripted models."""
    body = textwrap.indent(f"{BEFORE}{code}\nreturn reply", "    ")
    names: dict[str, Any] = {
        **{name: getattr(workflows, name) for name in workflows.__all__},
        "json": json,
        "SCHEMA": SCHEMA,
    }
    exec(compile(f"async def example(run):\n{body}\n", where, "exec"), names)
    flow = Flow("example", names["example"], ExampleParams, "")
    answers = dict.fromkeys(("x:a", "x:b"), '{"query": "x"}')
    rehearsal = Rehearsal(answers, tools={"search": lambda _: {"found": []}})
    played = rehearsal.play(flow, "What is a monad?")
    assert played.error is None


def test_every_method_of_run_and_every_value_has_an_example() -> None:
    """`finished` is called by the host only."""
    shown = {where for where, _ in EXAMPLES}
    members = {name for name in dir(workflows.Run) if name[0] != "_"} - {"finished"}
    assert {f"Run.{name}" for name in members} <= shown
    required = {"Conversation", "Message", "Reply", "ToolCall", "Usage", "Branch", "Limits"}
    assert required <= {where.partition(".")[0] for where in shown}
    assert len(shown) > 20
