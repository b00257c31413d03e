"""The registry on a real database: versions, changes as a whole, older files, loaded flows."""

import linecache
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from polyvox.activities.registry import registry as registry_module
from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import FROM_FILE, ModelSpec
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.database import file_url, open_database
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import FlowError

FLOW = """\
from polyvox.workflows import Model, Params, Reply, Run, flow


class P(Params):
    model: Model


@flow
async def direct(run: Run[P]) -> Reply:
    return await run.ask(run.params.model, step={step!r})
"""
MAIN = ModelSpec("direct", {"model": "sim:main"})


@pytest.fixture
def database(urls: StoreUrls) -> Iterator[Engine]:
    engine = open_database(urls.database)
    yield engine
    engine.dispose()


@pytest.fixture
def registry(database: Engine) -> Registry:
    registry = Registry(database)
    registry.register(FLOW.format(step="one"), "direct.py", author="somebody")
    return registry


def test_another_process_sees_a_change_at_its_next_look(
    registry: Registry, database: Engine
) -> None:
    """The revision is read each time; nothing is asked of the process that made the change."""
    other = Registry(database)
    assert other.flow("direct").author == "somebody"
    registry.register(FLOW.format(step="two"), "direct.py")
    assert other.flow("direct").name == "direct@2"
    registry.change({"m": MAIN})
    assert other.resolve("m", {}).flow == "direct@2"


def test_a_model_keeps_its_version_until_it_is_set_to_another(registry: Registry) -> None:
    """A new version of the flow serves those who ask for the flow, not the models bound before."""
    registry.change({"m": MAIN})
    registry.register(FLOW.format(step="two"), "direct.py")
    assert registry.resolve("m", {}).flow == "direct@1"
    (change,) = registry.change({"m": MAIN})
    assert [d.path for d in change.differences] == ["flow"]
    assert registry.resolve("m", {}).flow == "direct@2"


def test_a_change_of_several_models_is_made_whole_or_not_at_all(registry: Registry) -> None:
    """One mistake refuses all; both are told."""
    with pytest.raises(FlowError) as caught:
        registry.change({"a": MAIN, "b": ModelSpec("direct"), "c": ModelSpec("none")})
    assert "models.b.params.model: is missing." in str(caught.value)
    assert "models.c.flow: There is no flow 'none'" in str(caught.value)
    assert registry.virtual_models() == []


@pytest.mark.parametrize("name", ["openai:gpt-5", "", "-x", "a b", "\x1b[31m"])
def test_a_name_that_could_mean_something_else_is_refused(registry: Registry, name: str) -> None:
    """As in the file: a model that is called provider:model would take its place."""
    with pytest.raises(FlowError, match="a colon would read as provider:model"):
        registry.change({name: MAIN})


def test_a_retired_name_is_not_found_and_comes_back(registry: Registry) -> None:
    """Its versions go on counting."""
    registry.change({"m": MAIN}, origin=FROM_FILE)
    registry.change({}, absent_of=FROM_FILE)
    with pytest.raises(ModelError):
        registry.resolve("m", {})
    (change,) = registry.change({"m": MAIN})
    assert (change.action, change.version) == ("created", 3)
    assert [binding.retired for binding in registry.history("m")] == [False, True, False]


def test_a_retired_version_serves_no_new_run_and_still_loads(registry: Registry) -> None:
    """Runs that began with it need it; registering its source brings it back."""
    two = registry.register(FLOW.format(step="two"), "direct.py")
    registry.retire_flow("direct@2")
    assert registry.resolve("p:m", {"p": None}).flow == "direct@1"
    assert registry.load(two.digest).name == "direct"
    registry.register(FLOW.format(step="two"), "direct.py", revive=False)
    assert registry.resolve("p:m", {"p": None}).flow == "direct@1"
    registry.register(FLOW.format(step="two"), "direct.py")
    assert registry.resolve("p:m", {"p": None}).flow == "direct@2"


def test_the_flow_behind_every_provider_cannot_be_retired(registry: Registry) -> None:
    """Without it no provider:model could be called."""
    with pytest.raises(FlowError, match="serves provider:model"):
        registry.retire_flow("direct")


def test_a_file_of_an_older_program_is_given_what_it_lacks(tmp_path: Path) -> None:
    """Flows, models and keys of before stay as they were."""
    file = tmp_path / "old.db"
    registry = Registry(open_database(file_url(file)))
    registry.register(FLOW.format(step="one"), "direct.py")
    registry.change({"m": MAIN}, author="somebody")
    added = {
        "flow_versions": ("author", "description", "needs_params", "retired_at"),
        "virtual_models": ("limits", "author", "origin", "retired", "card"),
        "keys": ("role",),
        "calls": ("recorded", "cache_write_1h_tokens", "process"),
        "runs": (
            *("error_trace", "rerun_of", "cache_write_1h_tokens", "listener", "fetchable"),
            *("request_digest", "idempotency_key"),
        ),
    }
    connection = sqlite3.connect(file)
    for gone in ("alembic_version", "processes", "finished_calls", "idempotency_keys"):
        connection.execute(f"DROP TABLE {gone}")
    for index in ("runs_by_request", "runs_by_idempotency_key"):
        connection.execute(f"DROP INDEX {index}")
    connection.execute("ALTER TABLE conversations DROP COLUMN revision")
    for table, columns in added.items():
        for column in columns:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.commit()
    connection.close()
    older = Registry(open_database(file_url(file)))
    assert older.resolve("m", {}).params == {"model": "sim:main"}
    assert [binding.model for binding in older.models()] == ["m"]
    (change,) = older.change({"m": MAIN})
    assert change.action == "unchanged"


@pytest.mark.parametrize("urls", ["sqlite"], indirect=True)
def test_a_flow_that_is_no_longer_cached_leaves_nothing_behind(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the memory of a server grows with each version that it ever ran."""
    monkeypatch.setattr(registry_module, "_LOADED_FLOWS", 2)
    known, lines = set(sys.modules), set(linecache.cache)
    sources = [f"{FLOW.format(step=number)}\n# version {number}\n" for number in range(5)]
    digests = [registry.register(source, "direct.py").digest for source in sources]
    assert set(sys.modules) == known
    loaded = [registry.load(digest) for digest in digests]
    assert len(set(sys.modules) - known) == len(set(linecache.cache) - lines) == 2
    assert registry.load(digests[-1]) is loaded[-1]
    assert registry.load(digests[0]) is not loaded[0]
