"""All mistakes of a configuration file at once: its form, its models and their providers."""

from pathlib import Path

import pytest

from polyvox.activities.registry.registry import Registry
from polyvox.activities.storage.database import database_file, file_url, open_database
from polyvox.worker.settings.checking import all_mistakes, model_mistakes
from polyvox.worker.settings.settings import read_settings
from polyvox.worker.settings.shipped_templates import apply_models
from polyvox.workflows.flow import FlowError

FILE = """\
[server]
port = 70000
[providers.local]
protocol = "chat"
base_url = "http://localhost:1/v1"
[providers.broken]
protocol = "soap"
base_url = "http://localhost:1/v1"
[models.one]
flow = "fusionn"
[models.two]
flow = "direct"
param = 1
[models.two.params]
model = "nowhere:main"
[models.three]
flow = "fusion"
[models.three.params]
main = "broken:main"
panel = [
  "local:a",
  "openai:gpt-5",
]
mode = "never"
[models.three.limits]
calls = 0
"""

EXPECTED = [
    (2, "server.port: 70000"),
    (7, "providers.broken.protocol: 'soap'"),
    (10, "models.one.flow: There is no flow 'fusionn'. Did you mean 'fusion'?"),
    (13, "models.two.param: is not a known key here. Did you mean 'params'?"),
    (15, "models.two.params.model: 'nowhere:main' names no known provider."),
    (18, "models.three.params.judge: is missing."),
    (22, "models.three.params.panel.1: 'openai:gpt-5' names no known provider."),
    (24, "models.three.params.mode:"),
    (26, "models.three.limits.calls:"),
]

OWN_FLOW = '''\
from polyvox.workflows import Params, Reply, Run, Text, flow


class OwnParams(Params):
    word: str


@flow
async def own(run: Run[OwnParams]) -> Reply:
    """Answer with a word."""
    return Reply((Text(run.params.word),))
'''


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "polyvox.toml"
    file.write_text(FILE, "utf-8")
    return file


def test_every_kind_of_mistake_is_reported_at_once_with_its_line(config: Path) -> None:
    """In the order of the lines; a provider with a mistake of its own counts as declared."""
    reading = read_settings(config, config.parent / "data", environ={})
    found = all_mistakes(reading)
    assert len(found) == len(EXPECTED), found
    for mistake, (line, text) in zip(found, EXPECTED, strict=True):
        assert mistake.startswith(f"{config}, line {line}: {text}"), mistake
    assert not (config.parent / "data").exists()


def test_what_has_no_mistake_is_read_nevertheless(config: Path) -> None:
    """So that the rest can be checked."""
    settings = read_settings(config, environ={"HOME": str(config.parent)}).settings
    assert {*settings.providers} == {"local"}
    assert {*settings.models} == {"one", "two", "three"}
    assert settings.server.port == 8484


def test_a_mistake_in_the_environment_does_not_hide_those_of_the_file(config: Path) -> None:
    environ = {"TEMPORAL_ADDRESS": "nowhere", "HOME": str(config.parent)}
    found = all_mistakes(read_settings(config, environ=environ))
    assert len(found) == len(EXPECTED) + 1
    assert any("TEMPORAL_ADDRESS" in mistake for mistake in found)


def test_a_provider_without_its_key_is_told_its_variable(config: Path) -> None:
    (found,) = [m for m in all_mistakes(read_settings(config, environ={})) if "gpt-5" in m]
    assert "openai exists if OPENAI_API_KEY is set." in found


def test_flows_of_the_data_folder_are_known(tmp_path: Path) -> None:
    """They are checked against their own parameters; the folder's database is not changed."""
    data = tmp_path / "data"
    database = open_database(file_url(database_file(data)))
    Registry(database).register(OWN_FLOW, "own.py")
    database.dispose()
    before = database_file(data).read_bytes()
    config = tmp_path / "polyvox.toml"
    config.write_text('[models.mine]\nflow = "own@1"\nparams = { word = 3 }\n', "utf-8")
    (mistake,) = model_mistakes(read_settings(config, data, environ={}))
    assert mistake.startswith(f"{config}, line 3: models.mine.params.word:")
    assert database_file(data).read_bytes() == before
    config.write_text('[models.mine]\nflow = "own"\nparams = { word = "hi" }\n', "utf-8")
    assert model_mistakes(read_settings(config, data, environ={})) == []


def test_a_start_names_the_lines_of_models_too(config: Path, tmp_path: Path) -> None:
    """The registry of a start refuses the same models with the same words."""
    reading = read_settings(config, tmp_path / "data", environ={})
    database = open_database(file_url(database_file(tmp_path / "other")))
    registry = Registry(database)
    with pytest.raises(FlowError, match=r"line 10: models\.one\.flow: There is no flow 'fusionn'"):
        apply_models(registry, reading.settings)
    database.dispose()
