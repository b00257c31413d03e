"""``polyvox register``: what becomes of models, and data folders that do not exist."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from polyvox.gateway.cli.main import app

FLOW = """\
from polyvox.workflows import Model, Params, Reply, Run, flow


class P(Params):
    {params}


@flow
async def debate(run: Run[P]) -> Reply:
    \"\"\"{about}\"\"\"
    return await run.ask(run.params.model, step="main", emit=True)
"""


class Folder:
    """A data folder, and a flow's file beside it."""

    def __init__(self, path: Path) -> None:
        self.data = path / "data"
        self.data.mkdir()
        self.file = path / "debate.py"

    def write(self, about: str, params: str = "model: Model") -> None:
        self.file.write_text(FLOW.format(about=about, params=params), "utf-8")

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--data", str(self.data)])

    def register(self, *words: str) -> Result:
        return self.run("register", str(self.file), *words)

    def json(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_change_names_the_models_that_stay_on_an_older_version(folder: Folder) -> None:
    """It is live only where nothing else runs the flow."""
    folder.write("first")
    done = folder.register("--model", "debate", "--param", "model=simulator:main")
    assert done.stdout == "debate@1 is registered and live.\nCall it as model 'debate'.\n"
    folder.write("second")
    done = folder.register()
    assert done.exit_code == 0
    assert done.stdout == "debate@2 is registered.\n"
    assert done.stderr == (
        "Model 'debate' still runs debate@1. To change it: polyvox models set debate --flow "
        "debate\n"
    )
    assert folder.json("models", "show", "debate")["flow"] == "debate@1"
    assert folder.run("models", "set", "debate", "--flow", "debate").exit_code == 0
    assert folder.json("models", "show", "debate")["flow"] == "debate@2"


def test_a_model_keeps_its_settings(folder: Folder) -> None:
    """As `models set` does: parameters, limits, card and description."""
    folder.write("first")
    known = ("--param", "model=simulator:main", "--limit", "calls=7")
    assert folder.register("--model", "debate", *known).exit_code == 0
    more = ("--card", "context_window=1000", "--description", "Debates")
    assert folder.run("models", "set", "debate", *more).exit_code == 0
    folder.write("second", "model: Model\n    words: int = 5")
    done = folder.register("--model", "debate", "--param", "words=9", "--limit", "deadline_s=60")
    assert done.exit_code == 0, done.output
    model = folder.json("models", "show", "debate")
    assert (model["flow"], model["version"], model["description"]) == ("debate@2", 3, "Debates")
    assert model["params"] == {"model": "simulator:main", "words": 9}
    assert model["limits"] == {"calls": 7, "deadline_s": 60}
    assert model["card"] == {"context_window": 1000}


def test_a_setting_that_does_not_fit_registers_nothing(folder: Folder) -> None:
    """Neither the version nor the model; `--unset` removes what does not fit any more."""
    folder.write("first", "model: Model\n    words: int = 5")
    known = ("--param", "model=simulator:main", "--param", "words=9")
    assert folder.register("--model", "debate", *known).exit_code == 0
    folder.write("second")
    done = folder.register("--model", "debate")
    assert done.exit_code == 1
    assert "params.words: is not known. Known: model." in done.stderr
    wrong = folder.register("--model", "a:b", "--param", "model=simulator:main")
    assert wrong.exit_code == 1
    assert "a colon would read as provider:model" in wrong.stderr
    versions = [flow["name"] for flow in folder.json("flows", "list", "--all")]
    assert "debate@1" in versions
    assert "debate@2" not in versions
    assert folder.json("models", "show", "debate")["version"] == 1
    done = folder.register("--model", "debate", "--unset", "words")
    assert done.exit_code == 0, done.output
    model = folder.json("models", "show", "debate")
    assert (model["flow"], model["params"]) == ("debate@2", {"model": "simulator:main"})


def test_a_version_that_is_known_is_bound_all_the_same(folder: Folder) -> None:
    folder.write("first")
    assert folder.register("--model", "one", "--param", "model=simulator:main").exit_code == 0
    done = folder.register("--model", "two", "--param", "model=simulator:skeptic")
    assert done.stdout == "debate@1 is unchanged.\nCall it as model 'two'.\n"
    assert folder.json("models", "show", "two")["params"] == {"model": "simulator:skeptic"}


@pytest.mark.parametrize(
    "words",
    [
        ("register", "debate.py"),
        ("flows", "list"),
        ("models", "list"),
        ("flows", "retire", "direct"),
        ("models", "show", "m"),
        ("models", "retire", "m"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_data_folder_that_does_not_exist_is_not_made(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """The name was probably mistyped; commands that prepare a first start may make one."""
    missing = tmp_path / "typo"
    (tmp_path / "debate.py").write_text(FLOW.format(about="x", params="model: Model"))
    named = [str(tmp_path / word) if word.endswith(".py") else word for word in words]
    done = CliRunner().invoke(app, [*named, "--data", str(missing)])
    assert done.exit_code == 1
    assert f"There is no data folder {str(missing)!r}" in done.stderr
    assert f"mkdir -m 700 {missing}" in done.stderr
    assert not missing.exists()


def test_the_default_folder_may_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow can be registered before the first start."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("POLYVOX_DATA", raising=False)
    done = CliRunner().invoke(app, ["flows", "list"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / ".polyvox").is_dir()
