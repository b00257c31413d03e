"""`polyvox apply` on a data folder of its own: one change, with its plan."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from polyvox.gateway.cli.main import app

ONE = '[models.one]\nflow = "direct"\nparams = { model = "simulator:main" }\n'
TWO = '[models.two]\nflow = "direct"\nparams = { model = "simulator:judge" }\n'


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def applied(data: Path, text: str, *options: str) -> dict[str, str]:
    """Apply ``text`` and return what happened to each model."""
    file = data.parent / "polyvox.toml"
    file.write_text(text, "utf-8")
    words = ["apply", str(file), "--json", "--data", str(data), *options]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return {change["model"]: change["action"] for change in json.loads(done.stdout)["plan"]}


def models(data: Path) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["models", "list", "--json", "--data", str(data)])
    return {model["model"]: model for model in json.loads(done.stdout)}


def test_a_file_is_applied_as_a_whole_and_again_changes_nothing(data: Path) -> None:
    """Created, changed, unchanged and retired are told; a second time all is unchanged."""
    assert applied(data, ONE + TWO) == {"one": "created", "two": "created"}
    assert applied(data, ONE + TWO) == {"one": "unchanged", "two": "unchanged"}
    changed = ONE.replace("main", "skeptic")
    assert applied(data, changed) == {"one": "changed", "two": "retired"}
    assert {*models(data)} == {"one"}
    assert applied(data, changed + TWO) == {"one": "unchanged", "two": "created"}
    assert models(data)["two"]["version"] == 3


def test_a_dry_run_changes_nothing(data: Path) -> None:
    """Only the plan is shown."""
    assert applied(data, ONE, "--dry-run") == {"one": "created"}
    assert models(data) == {}


def test_a_model_made_by_hand_is_left_alone(data: Path) -> None:
    """Only what came from the file is retired when the file does not declare it any more."""
    made = ["models", "set", "mine", "--flow", "direct", "--param", "model=simulator:main"]
    assert CliRunner().invoke(app, [*made, "--data", str(data)]).exit_code == 0
    assert applied(data, ONE) == {"one": "created"}
    assert applied(data, "") == {"one": "retired"}
    assert {*models(data)} == {"mine"}


def test_one_mistake_keeps_everything_as_it_was(data: Path) -> None:
    """All mistakes are told with their paths, and no model is changed."""
    file = data.parent / "polyvox.toml"
    wrong = TWO.replace("model =", "modell =") + "[models.three]\nflow = 'dirct'\n"
    file.write_text(ONE + wrong, "utf-8")
    done = CliRunner().invoke(app, ["apply", str(file), "--data", str(data)])
    assert done.exit_code == 1
    assert f"{file}, line 6: models.two.params.modell: is not known. Known: model." in done.stderr
    assert "models.three.flow: There is no flow 'dirct'. Did you mean 'direct'?" in done.stderr
    assert models(data) == {}


def test_a_mistake_in_the_form_does_not_hide_those_in_models(data: Path) -> None:
    """Nor those in providers; each has its line."""
    file = data.parent / "polyvox.toml"
    wrong = TWO.replace("simulator:judge", "nobody:judge")
    file.write_text("[server]\nprot = 1\n" + wrong, "utf-8")
    done = CliRunner().invoke(app, ["apply", str(file), "--data", str(data)])
    assert done.exit_code == 1
    assert f"{file}, line 2: server.prot: is not a known key here." in done.stderr
    assert f"{file}, line 5: models.two.params.model: 'nobody:judge' names no" in done.stderr
