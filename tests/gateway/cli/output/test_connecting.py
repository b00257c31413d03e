"""What `polyvox up` prints: the key once at most, and lines with the operator's own model."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from polyvox.activities.registry.virtual_models import ResolvedModel
from polyvox.gateway.cli.output.connecting import client_lines, show, shown_model
from polyvox.gateway.own_keys import OwnKeys
from tests.programs.running import Live

SECRET = "pvx-0123456789abcdef"
FILE = Path("/data/key")


def model(name: str, version: int = 1, window: int | None = None) -> ResolvedModel:
    card = {} if window is None else {"context_window": window}
    return ResolvedModel(name, "direct@1", "digest", {}, version=version, card=card)


def printed(live: Live, keys: OwnKeys, *, terminal: bool) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, soft_wrap=True, color_system=None)
    show(replace(live.program, keys=keys), console)
    return output.getvalue()


@pytest.mark.parametrize("file", [FILE, None], ids=["a file", "the environment"])
def test_the_key_is_printed_once_and_only_on_a_terminal(live: Live, file: Path | None) -> None:
    """Elsewhere its file is named, or the variable it came from."""
    keys = OwnKeys(SECRET, "in a file", (), file)
    assert printed(live, keys, terminal=True).count(SECRET) == 1
    elsewhere = printed(live, keys, terminal=False)
    assert SECRET not in elsewhere
    assert (f'export POLYVOX_KEY="$(cat {FILE})"' in elsewhere) == (file is not None)
    assert "POLYVOX_KEY" in elsewhere


def test_a_key_that_is_not_known_is_not_invented(live: Live) -> None:
    """It was made earlier, or revoked; the news say which."""
    text = printed(live, OwnKeys(None, "revoked", ("The key was revoked.",)), terminal=True)
    assert "export POLYVOX_KEY=YOUR_KEY" in text
    assert "polyvox keys create" in text
    assert "The key was revoked." in text


@pytest.mark.parametrize(
    ("names", "declared", "shown"),
    [
        (["ant", "zebra"], ["zebra", "ant"], "zebra"),
        (["ant", "simulated", "simulated-fusion"], [], "ant"),
        (["simulated", "simulated-fusion"], [], "simulated-fusion"),
        (["simulated", "simulated-fusion"], ["simulated"], "simulated"),
        (["ant"], ["gone", "ant"], "ant"),
    ],
)
def test_the_first_own_model_is_shown(names: list[str], declared: list[str], shown: str) -> None:
    """In the order of the file, else by name; a simulated one only without any other."""
    found = shown_model([model(name) for name in names], declared)
    assert found is not None
    assert found.model == shown


def test_a_flow_without_parameters_is_not_an_own_model_of_the_operator() -> None:
    """It has no version as a model; it is shown if there is nothing else."""
    flow = model("careful", version=0)
    assert shown_model([flow, model("mine")], []) == model("mine")
    assert shown_model([flow], []) == flow
    assert shown_model([], []) is None


def test_every_line_names_the_model_and_its_window() -> None:
    """Clients that read the window from their own settings get it."""
    lines = dict(client_lines("http://host", model("mine", window=200_000)))
    assert all("mine" in line for line in lines.values())
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS=200000" in lines["Claude Code"]
    assert "ANTHROPIC_DEFAULT_HAIKU_MODEL=mine" in lines["Claude Code"]
    assert "model_context_window=200000" in lines["Codex"]
    unknown = dict(client_lines("http://host", model("mine")))
    assert "CONTEXT_TOKENS" not in unknown["Claude Code"]
    assert "context_window" not in unknown["Codex"]
