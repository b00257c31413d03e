"""Versions from end to end: registered, served, compared, rolled back, replayed, run again."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.generate.test_failures import request
from tests.programs.commands import polyvox, refused, source, told, told_json
from tests.programs.running import Live, until

ADVICE = "Should we move the billing system to Rust this year?"


def ask(live: Live, model: str, text: str = "hello there") -> tuple[str, dict[str, Any]]:
    """Return what ``model`` says, and its run."""
    answer = live.post("chat", request("chat", model, stream=False, text=text))
    assert answer.status_code == 200, answer.text
    run = live.ended(answer.headers["x-polyvox-run"])
    return answer.json()["choices"][0]["message"]["content"], run


def test_the_story_of_two_versions(live: Live, tmp_path: Path) -> None:
    """A slow run ends on the version it began with, new ones are served by the new version.

    Both can be compared, gone back to, and replayed with the code they ran on.
    """
    file = tmp_path / "story.py"
    file.write_text(source("story", "one"), "utf-8")
    slow = "main-ttft1500-idstory"
    assert "story@1 is registered" in told(
        live, "register", str(file), "--model", "teller", "--param", f"model=sim-chat:{slow}"
    )
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(ask, live, "teller")
        until(lambda: live.seen()["requests"].get(slow), "the run has not begun")
        file.write_text(source("story", "two"), "utf-8")
        assert "story@2 is registered" in told(live, "register", str(file), "-m", "says two")
        told(live, "models", "set", "teller", "--flow", "story", "--param", "model=sim-chat:main")
        said, newer = ask(live, "teller")
        assert (said, newer["flow"]) == ("two", "story@2")
        said, older = going.result()
        assert (said, older["flow"]) == ("one", "story@1")
    diff = told(live, "flows", "diff", "story")
    assert '-    word: str = "one"' in diff
    assert '+    word: str = "two"' in diff
    changed = told_json(live, "models", "diff", "teller")["differences"]
    assert [change["path"] for change in changed] == ["flow", "params.model"]
    told(live, "models", "rollback", "teller", "-m", "two was too much")
    told(live, "models", "set", "teller", "--param", "model=sim-chat:main")
    said, back = ask(live, "teller")
    assert (said, back["flow"]) == ("one", "story@1")
    history = told_json(live, "models", "history", "teller")
    assert [(h["version"], h["flow"]) for h in history] == [
        (4, "story@1"),
        (3, "story@1"),
        (2, "story@2"),
        (1, "story@1"),
    ]
    assert history[1]["message"] == "two was too much"
    assert all(h["author"] and h["created_at"] for h in history)
    for run in (older, newer, back):
        assert "matches" in told(live, "runs", "replay", run["run_id"])
    tested = told_json(live, "flows", "test", "story")
    assert [v["flow"] for v in tested["verdicts"]] == ["story@1", "story@2", "story@1"]
    assert all(verdict["holds"] for verdict in tested["verdicts"])


def test_an_exported_run_is_replayed_without_a_server(live: Live, tmp_path: Path) -> None:
    """The file has the history, the flow and the bodies; nothing else is needed."""
    _, run = ask(live, "panel-auto", ADVICE)
    file = tmp_path / "run.json"
    told(live, "runs", "export", run["run_id"], str(file))
    assert "matches" in told(live, "runs", "replay", str(file))
    other = file.read_text("utf-8").replace('step=\\"synthesis\\"', 'step=\\"report\\"')
    file.write_text(other, "utf-8")
    differs = polyvox(live, "runs", "replay", str(file))
    assert differs.exit_code == 1
    said = " ".join(differs.stdout.split())
    assert "the record has step 'synthesis' asking sim-chat:judge" in said
    assert "the code does step 'report' asking sim-chat:judge" in said


def test_a_rerun_asks_only_what_is_new(live: Live) -> None:
    """Unchanged calls come from the record, marked and at no cost; the provider is not asked."""
    _, run = ask(live, "panel-required", ADVICE)
    before = live.seen()["requests"]
    same = told_json(live, "runs", "rerun", run["run_id"])
    assert live.seen()["requests"] == before
    assert same["rerun_of"] == run["run_id"]
    assert all(call["recorded"] for call in same["calls"])
    assert same["spent"]["output"] == 0
    changed = told_json(
        live, "runs", "rerun", run["run_id"], "--set", "judge=sim-chat:judge-idrerun"
    )
    asked = {call["step"]: not call["recorded"] for call in changed["calls"]}
    assert asked.pop("synthesis")
    assert not asked["branch 1"]
    assert not asked["branch 2"]
    assert not asked["branch 3"]
    assert live.seen()["requests"]["judge-idrerun"] == 1


def test_a_rerun_refuses_parameters_the_flow_refuses(live: Live) -> None:
    """Each with its path, and nothing is started."""
    _, run = ask(live, "plain-chat")
    told_error = refused(live, "runs", "rerun", run["run_id"], "--set", "modell=x")
    assert "params.modell: is not known. Known: model." in told_error


@pytest.mark.parametrize("command", ["replay", "rerun"])
def test_a_run_that_is_not_there_is_named(live: Live, command: str) -> None:
    """The message says how to find the right one."""
    assert "polyvox runs list" in refused(live, "runs", command, "run_nothing")
