"""The list of commands, which is told without importing any of them."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from polyvox.gateway.cli.lazy import loaded
from polyvox.gateway.cli.main import COMMANDS, app

HEAVY = ("aiohttp", "fastapi", "polyvox.workflows", "sqlalchemy", "temporalio")
"""What takes long to import."""

HELP = f"""
import sys
from typer.testing import CliRunner
from polyvox.gateway.cli.main import app
done = CliRunner().invoke(app, {{words}})
assert done.exit_code == 0, done.output
print(*[name for name in {HEAVY} if name in sys.modules])
"""


@pytest.mark.parametrize("words", [["--help"], ["runs", "--help"]], ids=" ".join)
def test_help_imports_nothing_that_takes_long(words: list[str]) -> None:
    script = HELP.format(words=words)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("command", ["keys:list_keys", "models:list_models", "runs.show:list_runs"])
def test_a_command_that_only_looks_imports_neither_engine_nor_server(command: str) -> None:
    script = f"""
import sys
from polyvox.gateway.cli.lazy import loaded
loaded({command!r})
print(*[name for name in ("aiohttp", "fastapi", "jsonschema", "temporalio") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize(("words", "place", "about"), COMMANDS, ids=[c[0] for c in COMMANDS])
def test_what_the_list_says_of_a_command_is_what_its_help_begins_with(
    words: str, place: str, about: str
) -> None:
    assert loaded(place).help.partition("\n")[0] == about
    listed = CliRunner().invoke(app, [*words.split()[:-1], "--help"], env={"COLUMNS": "200"})
    assert about in listed.output


def test_the_version_is_that_of_the_package() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"polyvox {version('polyvox')}\n")


@pytest.mark.parametrize("words", ["", "runs", "up", "keys create"])
def test_h_is_help_everywhere(words: str) -> None:
    short = CliRunner().invoke(app, [*words.split(), "-h"])
    whole = CliRunner().invoke(app, [*words.split(), "--help"])
    assert short.exit_code == 0
    assert short.stdout == whole.stdout


def test_an_unknown_command_is_refused_with_what_is_near() -> None:
    done = CliRunner().invoke(app, ["runs", "lst"])
    assert done.exit_code == 2
    assert "list" in done.stderr
