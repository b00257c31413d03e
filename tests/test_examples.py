"""Register the examples with the commands in their docstrings, and call them."""

import ast
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from polyvox.activities.registry.registry import Registry
from polyvox.activities.storage.database import file_url, open_database
from polyvox.gateway.cli.main import app
from polyvox.worker.engine.ports import free_port
from polyvox.worker.settings.settings import load_settings
from polyvox.worker.settings.shipped_templates import apply_models, register_templates
from tests.programs.running import ENVIRON, Live, live_program

ROOT = Path(__file__).parent.parent
QUESTION = "Should I cache or recompute?"

STEPS = {
    "careful": ["draft", "review", "final"],
    "second_opinion": ["first", "second", "answer"],
}
"""The steps of one turn, by the example's file name; parallel steps are sorted by name."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    folder = tmp_path_factory.mktemp("examples")
    with live_program(folder, f"http://127.0.0.1:{free_port()}/v1", environ) as running:
        yield running


def register(live: Live, name: str, *more: str) -> str:
    """Run the command in the example's docstring, with ``more``; return the model's name."""
    file = ROOT / "examples" / f"{name}.py"
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    program, *words = shlex.split(docstring[docstring.index("polyvox register") :])
    assert (program, words[1]) == ("polyvox", f"examples/{name}.py")
    words[1] = str(file)
    done = CliRunner().invoke(app, [*words, *more, "--data", str(live.data)])
    assert done.exit_code == 0, done.output
    return words[words.index("--model") + 1]


def ask(live: Live, model: str, text: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    """Return the first choice of the answer, and the run behind it."""
    messages = [{"role": "user", "content": text}]
    answer = live.post("chat", {"model": model, "messages": messages, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0], live.ended(answer.headers["x-polyvox-run"])


def test_every_example_is_called_here() -> None:
    """The table above has a line for each example."""
    assert {file.stem for file in (ROOT / "examples").glob("*.py")} == {*STEPS}


@pytest.mark.parametrize("name", STEPS)
def test_an_example_answers_on_a_running_server(live: Live, name: str) -> None:
    """Registering needs no restart, and the trace names the example's steps."""
    choice, run = ask(live, register(live, name), QUESTION)
    assert choice["message"]["content"].startswith("[simulated:")
    assert run["flow"] == f"{name}@1"
    assert sorted(c["step"] for c in run["calls"]) == sorted(STEPS[name])


@pytest.mark.parametrize("name", STEPS)
def test_an_example_leaves_the_clients_tools_to_the_client(live: Live, name: str) -> None:
    """Examples must work with agents that use tools."""
    choice, _ = ask(live, register(live, name), "Call get_weather for Paris", tools=[WEATHER])
    assert choice["finish_reason"] == "tool_calls"
    assert [c["function"]["name"] for c in choice["message"]["tool_calls"]] == ["get_weather"]


def test_a_missing_second_opinion_does_not_cost_the_answer(live: Live) -> None:
    """The answer is given without the failed branch, which is recorded in the run's notes."""
    model = register(live, "second_opinion", "--param", "second=simulator:skeptic-err400")
    choice, run = ask(live, model, QUESTION)
    assert choice["message"]["content"].startswith("[simulated:")
    assert [note["step"] for note in run["notes"]] == ["second"]


def test_the_example_configuration_is_accepted(tmp_path: Path) -> None:
    """Its providers are valid, and its models match the parameters of their flows."""
    settings = load_settings(ROOT / "polyvox.example.toml", tmp_path, environ={})
    database = open_database(file_url(tmp_path / "registry.db"))
    registry = Registry(database)
    register_templates(registry)
    apply_models(registry, settings)
    assert {*settings.models} <= {binding.model for binding in registry.models()}
    database.dispose()
