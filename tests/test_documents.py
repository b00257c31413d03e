"""Compare the documents with the program."""

import ast
import asyncio
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console

from polyvox.gateway.cli.lazy import loaded
from polyvox.gateway.cli.output.connecting import show
from polyvox.gateway.program import started
from polyvox.gateway.simulator.plan import GRAMMAR
from polyvox.worker.settings.file import (
    EngineSettings,
    ModelTable,
    ProviderTable,
    ServerSettings,
    StorageSettings,
)
from polyvox.worker.settings.settings import load_settings
from polyvox.workflows.run import Run
from tests.samples.known_settings import environment_variables, parse_command

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGURATION = ROOT / "docs" / "configuration.md"
FLOWS = ROOT / "docs" / "flows.md"

TABLES: dict[str, type[BaseModel]] = {
    "[providers.NAME]": ProviderTable,
    "[models.NAME]": ModelTable,
    "[server]": ServerSettings,
    "[engine]": EngineSettings,
    "[storage]": StorageSettings,
}
SHOWN_URL = "http://127.0.0.1:8484"


def section(document: Path, heading: str) -> str:
    """Return the text between ``heading`` (without its marks) and the next heading."""
    parts = re.split(r"^#+ (.*)$", document.read_text("utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[heading]


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    match field.get_default(call_default_factory=True, validated_data={}):
        case None:
            return "none"
        case dict():
            return "none"
        case []:
            return "`[]`"
        case str(text):
            return f'`"{text}"`'
        case bool(yes):
            return "`true`" if yes else "`false`"
        case number:
            return f"`{number:g}`"


@pytest.mark.parametrize("name", TABLES)
def test_every_key_of_the_configuration_file_is_documented(name: str) -> None:
    """Each key is in its table's section with its default, and the section has no other keys."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section(CONFIGURATION, f"`{name}`"), re.M)
    fields = TABLES[name].model_fields
    assert dict(rows) == {key: default_of(field) for key, field in fields.items()}


def test_every_environment_variable_is_documented() -> None:
    """The list contains all variables that the source reads."""
    rows = re.findall(r"`([A-Z][A-Z0-9_]+)`", section(CONFIGURATION, "Environment variables"))
    assert environment_variables() <= {*rows}


def test_every_option_of_up_is_documented() -> None:
    """The list contains exactly the command's options."""
    options = {p.opts[0] for p in loaded("up:up").params}
    rows = re.findall(r"^\| `(--[a-z-]+)", section(CONFIGURATION, "Command line"), re.M)
    assert {*rows} == options


def test_everything_a_run_can_do_is_documented() -> None:
    """Every public member of Run has a row, and every row belongs to a member."""
    rows = re.findall(r"^\| `(\w+)", section(FLOWS, "What a run can do"), re.M)
    members = {name for name in dir(Run) if not name.startswith("_")} - {"finished"}
    assigned = re.findall(r"^        self\.([a-z]\w*)[ :]", inspect.getsource(Run.__init__), re.M)
    assert {*rows} == members | {*assigned}


def test_the_simulators_grammar_is_documented_as_it_is() -> None:
    """The page shows the text that `polyvox simulate --help` shows."""
    assert f"```text\n{GRAMMAR}```" in (ROOT / "docs" / "simulator.md").read_text("utf-8")


def test_the_flow_in_the_readme_is_the_example() -> None:
    """The tests run the code that a reader copies."""
    source = (ROOT / "examples" / "careful.py").read_text("utf-8")
    after_docstring = ast.parse(source).body[1].lineno - 1
    code = "".join(source.splitlines(keepends=True)[after_docstring:])
    assert f"```python\n{code}```" in (ROOT / "README.md").read_text("utf-8")


def commands_in(document: Path) -> Iterator[list[str]]:
    """Yield the words after ``polyvox`` for each such line in the document's console blocks."""
    for block in re.findall(r"```console\n(.*?)```", document.read_text("utf-8"), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if found := re.match(r"(?:\.venv/bin/)?polyvox (.*)", line):
                yield shlex.split(found[1], comments=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_program_knows_every_command_in_the_documents(document: Path) -> None:
    """No document contains a command or option that was renamed."""
    for words in commands_in(document):
        parse_command(words)


def test_commands_are_found_in_the_documents() -> None:
    """Otherwise the test above could pass without finding any command."""
    assert len([*commands_in(ROOT / "README.md")]) > 3


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_table_is_broken(document: Path) -> None:
    """Rows after a blank line, without a head of their own, are not a table."""
    lines = document.read_text("utf-8").splitlines()
    starts = [at for at, line in enumerate(lines) if line[:1] == "|" and lines[at - 1][:1] != "|"]
    assert all(re.fullmatch(r"\|[-| :]+\|", lines[at + 1]) for at in starts)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_in_the_documents_leads_somewhere(document: Path) -> None:
    """A link to a file of this repository names one that exists."""
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text("utf-8"))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert not [link for link in local if not (document.parent / link).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_in_the_documents_is_there(document: Path) -> None:
    """Every path of the repository that a document names exists."""
    named = re.findall(r"`((?:\w+/)+[\w.-]*)`", document.read_text("utf-8"))
    own = [path for path in named if (ROOT / path.partition("/")[0]).is_dir()]
    assert not [path for path in own if not (ROOT / path).exists()]


@pytest.mark.parametrize(
    "record", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda path: path.name
)
def test_a_decision_is_short_and_whole(record: Path) -> None:
    """Each file has one decision, at most 40 lines, and the same headings."""
    text = record.read_text("utf-8")
    assert len(text.splitlines()) <= 40
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings == ["Context", "Decision", "Consequences", "Alternatives", "Enforced by"]


def run_code(code: str) -> str:
    """Run ``code`` in a separate process, as a reader would, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_the_readme_connects_clients_to_the_program(tmp_path: Path) -> None:
    """It contains exactly the lines that `up` prints, and the code for the SDKs gets an answer."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "POLYVOX_KEY": "YOUR_KEY"}
    empty = tmp_path / "polyvox.toml"
    empty.touch()
    settings = load_settings(empty, tmp_path / "data", environ=environ, port=0)
    printed = io.StringIO()
    readme = (ROOT / "README.md").read_text("utf-8")
    sdk_code = re.findall(r"```python\n(from (?:openai|anthropic) .*?)```", readme, re.S)
    assert len(sdk_code) == 2
    async with started(settings, environ=environ, report=print) as program:
        show(program, Console(file=printed, highlight=False, soft_wrap=True))
        for code in sdk_code:
            output = await asyncio.to_thread(run_code, code.replace(SHOWN_URL, program.base_url))
            assert output.startswith("[simulated:")
        text = printed.getvalue().replace(program.base_url, SHOWN_URL)
    lines = [line for line in text.splitlines() if "POLYVOX_KEY" in line and line[0] != " "]
    assert len(lines) == 5
    assert not [line for line in lines[1:] if f"\n{line}\n" not in readme]
