"""Compare the pages of the templates and the code in docs/flows.md with the program."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from polyvox.worker.settings.shipped_templates import TEMPLATES
from polyvox.workflows.flow import Flow, load_flow

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "templates"
FLOWS = ROOT / "docs" / "flows.md"
LONGEST_DEFAULT = 40

DOCUMENTED = [name for name in TEMPLATES if name != "direct"]
BLOCKS = re.findall(r"```python\n(.*?)```", FLOWS.read_text("utf-8"), re.S)


def template(name: str) -> Flow:
    found = getattr(importlib.import_module(f"polyvox.workflows.templates.{name}"), name)
    assert isinstance(found, Flow)
    return found


def tables(flow: Flow) -> str:
    """Return the flow's parameters as tables, that of each nested object after the flow's own."""
    schema = flow.params.model_json_schema()
    nested = [
        f"Each `{name}`:\n\n{table(known)}"
        for name, known in schema.get("$defs", {}).items()
        if known.get("properties")
    ]
    return "\n\n".join([table(schema), *nested])


def table(schema: dict[str, Any]) -> str:
    lines = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
    for name, known in schema["properties"].items():
        required = name in schema.get("required", ())
        shown = "required" if required else default_of(known.get("default"))
        lines.append(f"| `{name}` | {kind_of(known)} | {shown} | {known['description']} |")
    return "\n".join(lines)


def kind_of(known: dict[str, Any]) -> str:
    if "enum" in known:
        return " or ".join(f'`"{value}"`' for value in known["enum"])
    if "anyOf" in known:
        kinds = [kind_of(one) for one in known["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in known:
        return f"`{known['$ref'].rpartition('/')[2]}`"
    if known.get("format") == "model":
        return "model"
    match known.get("type"):
        case "array":
            return f"list of {kind_of(known['items'])}"
        case "object" if isinstance(known.get("additionalProperties"), dict):
            return f"table of {kind_of(known['additionalProperties'])}"
        case kind:
            return known.get("format") or kind or "any"


def default_of(value: Any) -> str:
    match value:
        case None | [] | {}:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case str() if len(value) > LONGEST_DEFAULT:
            return "a prompt, in the flow"
        case str():
            return f'`"{value}"`'
        case _:
            return f"`{value:g}`"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_parameters_of_a_template_are_documented_as_they_are(name: str) -> None:
    """The tables are made from the schema; on failure this prints the new ones."""
    text = (PAGES / f"{name}.md").read_text("utf-8")
    found = re.search(r"## Parameters\n(.*?)(?:\n## |\Z)", text, re.S)
    assert found
    wanted = tables(template(name))
    assert found[1].strip() == wanted, f"put this there:\n{wanted}"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_templates_page_says_when_to_use_it_and_what_it_costs(name: str) -> None:
    """All pages have the same headings."""
    text = (PAGES / f"{name}.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings[:2] == ["When to use it", "What it costs"]
    assert headings[-1] == "Parameters"


def test_every_template_has_a_page() -> None:
    """Every page belongs to an existing template."""
    assert {page.stem for page in PAGES.glob("*.md")} == {*DOCUMENTED}


@pytest.mark.parametrize("code", BLOCKS, ids=lambda code: re.findall(r"def (\w+)", code)[-1])
def test_the_code_about_flows_runs(code: str) -> None:
    """Every block is a complete file: its flow loads, its tests pass."""
    load_flow(code, "docs/flows.md")
    names: dict[str, Any] = {}
    exec(compile(code, "docs/flows.md", "exec"), names)
    for name, value in names.items():
        if name.startswith("test_"):
            value()


def test_code_is_found_in_the_page_about_flows() -> None:
    """Otherwise the test above could pass without finding any block."""
    assert len(BLOCKS) > 3
    assert any("def test_" in code for code in BLOCKS)
