"""What a flow's source may hold."""

from importlib.resources import files

import pytest

from polyvox.workflows.source.determinism import complaints, may_walk_sets


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("import time", "run.now()"),
        ("import os.path", "parameter"),
        ("from random import choice", "run.random()"),
        ("import requests as r", "run.ask"),
        ("from . import sibling", "register the folder"),
        ("import numpy", "pure modules"),
        ("open('x')", "parameter"),
        ("print('x')", "run.note"),
        ("datetime.now()", "run.now()"),
        ("datetime.datetime.utcnow()", "run.now()"),
        ("date.today()", "run.now()"),
        ("__import__('time')", "import statement"),
    ],
)
def test_what_differs_from_run_to_run_is_refused(line: str, instead: str) -> None:
    """Each complaint has its line and what to use instead, also deep inside a function."""
    (found,) = complaints(f"def f():\n    if True:\n        {line}\n", "flow.py")
    assert found.line == 3
    assert instead in found.message


@pytest.mark.parametrize(
    "line",
    [
        "import json, re",
        "from collections.abc import Sequence",
        "from polyvox.workflows import flow",
        "from datetime import timedelta",
        "run.now()",
        "self.print('x')",
    ],
)
def test_what_is_the_same_in_every_run_is_welcome(line: str) -> None:
    """Pure modules, and names that only look like built-ins."""
    assert complaints(line, "flow.py") == []


def test_complaints_come_in_the_order_of_lines() -> None:
    """Whoever mends the file goes through it once."""
    found = complaints("print(1)\nimport os\nimport time\nopen('x')", "flow.py")
    assert [complaint.line for complaint in found] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["direct", "fusion"])
def test_the_shipped_flows_keep_the_rules(name: str) -> None:
    """They are stored and loaded like a user's own."""
    source = files("polyvox.workflows.templates").joinpath(f"{name}.py").read_text()
    assert complaints(source, name) == []


@pytest.mark.parametrize(
    ("line", "may"),
    [
        ("seen = {a, b}", True),
        ("seen = {x for x in y}", True),
        ("seen = set(words)", True),
        ("seen: AbstractSet[str] = words", True),
        ("from collections.abc import Set as Many", True),
        ("given = run.params.model_fields_set", True),
        ("for key in a.keys() - b: pass", True),
        ("for key in dict(a).items() - b: pass", True),
        ("seen = {a: b}", False),
        ("for key, value in a.items(): pass", False),
        ("told = 'a set of words'", False),
    ],
)
def test_a_second_dry_run_is_due_where_a_set_may_be_walked(line: str, may: bool) -> None:
    """Its order is another one in each process."""
    assert may_walk_sets(line) is may
