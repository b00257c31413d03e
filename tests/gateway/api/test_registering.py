"""Flows registered by another process, while the server runs."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gateway.generate.test_failures import request
from tests.programs.running import Live, until

EXECUTABLE = Path(sys.executable).parent / "polyvox"

FLOW = '''\
from polyvox.workflows import Params, Reply, Run, Text, flow


class Nothing(Params):
    pass


@flow
async def {name}(run: Run[Nothing]) -> Reply:
    """{name} says its word."""
    await run.ask("{model}", step="listen")
    return Reply((Text("{word}"),))
'''

Register = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def register(live: Live, tmp_path: Path) -> Register:
    """Write ``source`` to a file and register it with the command line."""

    def run(source: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        file = tmp_path / "flow.py"
        file.write_text(source, "utf-8")
        return subprocess.run(
            [EXECUTABLE, "register", str(file), "--data", str(live.data), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def flow(name: str, word: str, model: str = "sim-chat:main") -> str:
    return FLOW.format(name=name, word=word, model=model)


def said_by(live: Live, model: str) -> tuple[str, str]:
    """Return what ``model`` says and which flow version said it."""
    answer = live.post("chat", request("chat", model, stream=False))
    assert answer.status_code == 200, answer.text
    run = live.ended(answer.headers["x-polyvox-run"])
    return answer.json()["choices"][0]["message"]["content"], run["flow"]


def test_a_new_version_serves_the_next_request(live: Live, register: Register) -> None:
    """Each registration is live at once; the same source again changes nothing."""
    assert "parrot@1 is registered and live" in register(flow("parrot", "one")).stdout
    assert said_by(live, "parrot") == ("one", "parrot@1")
    assert "parrot@2 is registered and live" in register(flow("parrot", "two")).stdout
    assert "parrot@2 is unchanged" in register(flow("parrot", "two")).stdout
    assert said_by(live, "parrot") == ("two", "parrot@2")
    assert said_by(live, "parrot@1") == ("one", "parrot@1")
    names = [model["id"] for model in live.ask("/v1/models").json()["data"]]
    assert "parrot" in names


def test_a_run_ends_on_the_version_it_began_with(live: Live, register: Register) -> None:
    """What is registered while it runs does not reach it."""
    slow = "main-ttft1500-idversion"
    register(flow("tortoise", "old", f"sim-chat:{slow}"))
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(said_by, live, "tortoise")
        until(lambda: live.seen()["requests"].get(slow), "the run has not begun")
        assert "tortoise@2" in register(flow("tortoise", "new")).stdout
        assert said_by(live, "tortoise") == ("new", "tortoise@2")
        assert going.result() == ("old", "tortoise@1")


def test_a_model_bound_with_the_registration_answers(live: Live, register: Register) -> None:
    """``--model`` and ``--param`` make a virtual model of the flow at once."""
    source = (
        flow("greeter", "x")
        .replace("pass", "word: str")
        .replace('Text("x")', "Text(run.params.word)")
    )
    done = register(source, "--model", "greeter-loud", "--param", "word=HELLO")
    assert done.returncode == 0, done.stderr
    assert said_by(live, "greeter-loud") == ("HELLO", "greeter@1")
    answer = live.post("chat", request("chat", "greeter", stream=False))
    assert answer.status_code == 404
    assert "needs parameters" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("import time", "use run.now()"),
        ("from random import choice", "use run.random()"),
        ("import httpx", "ask a model with run.ask"),
        ("def broken(:", "invalid syntax"),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_its_line(
    register: Register, line: str, says: str
) -> None:
    """File, line and what to do instead; nothing is registered."""
    done = register(f"'''A flow.'''\n{line}\n" + flow("refused", "x"))
    assert done.returncode == 1
    assert "flow.py:2: " in done.stderr
    assert says in done.stderr


def test_a_flow_that_raises_tells_its_line_and_harms_nobody(live: Live, register: Register) -> None:
    """The client's error names the flow's own line; the worker serves on."""
    source = flow("clumsy", "x").replace("    return", '    {}["nothing"]\n    return')
    assert register(source).returncode == 0
    answer = live.post("chat", request("chat", "clumsy", stream=True))
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["code"] == "flow_error"
    assert "KeyError: 'nothing' at line 12: {}[\"nothing\"]" in error["message"]
    run = live.ended(answer.headers["x-polyvox-run"])
    assert (run["status"], run["error"]["kind"]) == ("failed", "flow_error")
    assert live.post("chat", request("chat", "plain-chat", stream=False)).status_code == 200
