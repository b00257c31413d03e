"""Code that is checked in a sandbox and mended before the client gets it."""

from pathlib import Path

import pytest

from tests.programs.clients import Client, Question, Said
from tests.programs.optional_parts import sandboxed
from tests.programs.running import Live
from tests.programs.template_stories import notes

WANTED = Said("Write the function add in solution.py")
RIGHT = "```python solution.py\ndef add(a, b):\n    return a + b\n```"

streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@sandboxed
@streams
def test_code_that_fails_its_test_is_mended(live: Live, client: Client, stream: bool) -> None:
    """The coder is told what the test said; the client gets only the second try."""
    answered = client.ask(Question("patched", (WANTED,)), stream=stream)
    assert RIGHT in answered.text
    assert "a - b" not in answered.text
    run = live.ended(answered.run_id, 2)
    assert [call["step"] for call in run["calls"]] == ["code", "repair"]
    first, second = notes(run, "checked")
    assert "`python test_solution.py` failed (exit 1)" in first["complaints"][0]
    assert "AssertionError" in first["complaints"][0]
    assert second["passed"] is True


@sandboxed
def test_code_that_never_passes_says_so(live: Live, client: Client) -> None:
    """The client must not take it for checked."""
    answered = client.ask(Question("patched-never", (WANTED,)), stream=True)
    assert "This code did not pass its checks:" in answered.text
    assert len(live.ended(answered.run_id, 2)["calls"]) == 2


def test_without_a_sandbox_no_code_is_run(
    live: Live, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """There is no weaker way; the error says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match="bubblewrap is not installed"):
        client.ask(Question("patched", (WANTED,)), stream=False)
    assert live.ended(client.run_id)["error"]["kind"] == "unsupported"


def test_a_sandbox_that_may_not_do_its_work_runs_nothing(
    live: Live, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a container that forbids namespaces bubblewrap is there and fails."""
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'No permissions to create namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match="No permissions to create namespace"):
        client.ask(Question("patched", (WANTED,)), stream=False)


def test_without_commands_code_is_parsed_and_reviewed(live: Live, client: Client) -> None:
    """Nothing is run then, and no sandbox is needed."""
    answered = client.ask(Question("patched-unrun", (WANTED,)), stream=True)
    assert RIGHT in answered.text
    run = live.ended(answered.run_id, 2)
    assert [call["step"] for call in run["calls"]] == ["code", "review"]


def test_what_is_no_code_is_answered_as_it_is(live: Live, client: Client) -> None:
    """A question about code costs one call."""
    answered = client.ask(Question("patched-unrun", (Said("Hello!"),)), stream=True)
    assert [call["step"] for call in live.ended(answered.run_id)["calls"]] == ["code"]


def test_the_clients_own_tools_are_handed_through(live: Live, client: Client) -> None:
    """An agent that edits files itself is left to it."""
    said = Said("Call get_weather for Paris")
    answered = client.ask(Question("patched", (said,), tools=("get_weather",)), stream=True)
    assert [call.name for call in answered.calls] == ["get_weather"]
