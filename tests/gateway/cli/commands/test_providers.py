"""`polyvox providers` on a configuration file."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from polyvox.gateway.cli.main import app
from polyvox.protocols.dialects.dialect import FACTS

FILE = """
[providers.le-chat]
protocol = "chat"
base_url = "https://api.mistral.ai/v1"
api_key_env = "LE_CHAT_KEY"

[providers.rack]
protocol = "chat"
base_url = "http://127.0.0.1:8000/v1"
[providers.rack.dialect]
server = "vllm"
accepts = ["verbosity"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "polyvox.toml"
    path.write_text(FILE)
    return path


def providers(*words: str, config: Path, **environ: str) -> Result:
    arguments = ["providers", *words, "--config", str(config), "--data", str(config.parent)]
    return CliRunner().invoke(app, arguments, env=environ)


def read(*words: str, config: Path, **environ: str) -> Any:
    done = providers(*words, "--json", config=config, **environ)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_each_provider_is_listed_with_its_server_and_key(config: Path) -> None:
    listed = read("list", config=config, LE_CHAT_KEY="x")
    assert [(p["name"], p["server"], p["key"]) for p in listed] == [
        ("le-chat", "mistral", "LE_CHAT_KEY (set)"),
        ("rack", "vllm", "not needed"),
    ]
    text = providers("list", config=config).output
    assert "LE_CHAT_KEY (not set)" in text
    assert "https://api.mistral.ai/v1" in text


def test_a_provider_is_shown_with_all_facts_and_their_sources(config: Path) -> None:
    shown = read("show", "le-chat", config=config)
    assert {*shown["dialect"]} == {*FACTS} - {"server"}
    assert shown["dialect"]["output_limit"] == {"value": "max_tokens", "from": "mistral"}
    assert shown["dialect"]["custom_tools"] == {"value": False, "from": "default"}
    assert "max_completion_tokens" in shown["dialect"]["refuses"]["value"]
    assert all(source["page"] and source["read"] for source in shown["sources"])
    text = providers("show", "le-chat", config=config).output
    assert "nine_characters" in text
    assert "read 2026-11-28" in text


def test_a_fact_from_the_file_is_marked(config: Path) -> None:
    shown = read("show", "rack", config=config)
    assert shown["dialect"]["accepts"]["from"] == "polyvox.toml"
    assert {"verbosity", "seed"} <= {*shown["dialect"]["accepts"]["value"]}


def test_a_known_server_is_shown_without_a_provider(config: Path) -> None:
    assert read("show", "deepseek", config=config)["dialect"]["thoughts"]["value"] == "always"
    assert read("show", "unknown", config=config)["sources"] == []
    assert read("show", "simulator", config=config)["server"] == "polyvox"


def test_an_unknown_name_is_answered_with_the_known_ones(config: Path) -> None:
    done = providers("show", "mistrall", config=config)
    assert done.exit_code == 1
    assert "le-chat" in done.stderr
    assert "mistral" in done.stderr


def test_a_mistake_in_the_file_is_reported(config: Path) -> None:
    config.write_text(FILE.replace('"vllm"', '"vlm"'))
    done = providers("list", config=config)
    assert done.exit_code == 1
    assert "providers.rack.dialect.server: 'vlm': is not a known server" in done.stderr
