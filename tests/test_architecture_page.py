"""docs/architecture.md against the code: its files are there and import each other as it says."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
STEPS = [
    [(ROOT / "docs" / link).resolve() for link in re.findall(r"\]\((\.\./[^)]+\.py)\)", step)]
    for step in re.findall(r"^\d+\. (.*)$", PAGE, re.MULTILINE)
]


def module_of(file: Path) -> str:
    """Return the dotted name of a module: what stands below the folder of its package."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts[1:])


def imports_of(file: Path) -> set[str]:
    """Return the dotted names that a module imports, and the names it takes from each."""
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_the_files_of_a_step_are_imported_by_its_first() -> None:
    """So a reader who follows the page follows the imports."""
    assert len(STEPS) > 10
    for first, *others in STEPS:
        missing = {module_of(other) for other in others} - imports_of(first)
        assert not missing, f"{module_of(first)} does not import {missing}"


def test_each_step_goes_on_from_an_earlier_one() -> None:
    """Its first file was named before, or is called by Temporal, or builds on a named one."""
    named = {module_of(file) for file in STEPS[0]}
    for step in STEPS[1:]:
        first = step[0]
        goes_on = module_of(first) in named or not named.isdisjoint(imports_of(first))
        assert goes_on, f"{module_of(first)} has nothing to do with the steps before"
        named |= {module_of(file) for file in step}
