"""A run that waits for a person's word."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gateway.running import Live, until
from tests.gateway.test_failures import request

EXECUTABLE = Path(sys.executable).parent / "polyvox"

FLOW = '''\
from polyvox.workflows import Params, Reply, Run, Text, flow


class Nothing(Params):
    pass


@flow
async def {name}(run: Run[Nothing]) -> Reply:
    """Asks before it acts."""
    approved = await run.approve("Deploy?", timeout_s={timeout_s})
    return Reply((Text("deployed" if approved else "left alone"),))
'''


def polyvox(live: Live, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [EXECUTABLE, *words, "--data", str(live.data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def register(live: Live, tmp_path: Path, name: str, timeout_s: float) -> None:
    file = tmp_path / "gate.py"
    file.write_text(FLOW.format(name=name, timeout_s=timeout_s), "utf-8")
    done = polyvox(live, "register", str(file))
    assert done.returncode == 0, done.stderr


def waiting(live: Live, run_id: str) -> bool | None:
    async def asked() -> list[str]:
        found: list[str] = await live.handle(run_id).query("questions", result_type=list)
        return found

    return [*live.run(asked())] == ["Deploy?"] or None


@pytest.mark.parametrize(
    ("name", "more", "says", "text"),
    [
        ("gate", (), "Approved: Deploy?", "deployed"),
        ("shut_gate", ("--no",), "Refused: Deploy?", "left alone"),
    ],
    ids=["yes", "no"],
)
def test_somebody_answers_what_a_run_asks(
    live: Live, tmp_path: Path, name: str, more: tuple[str, ...], says: str, text: str
) -> None:
    """From another process; the decision stands in the run's notes."""
    register(live, tmp_path, name, 60)
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(live.post, "chat", request("chat", name, stream=False))
        before = until(lambda: live.newest_run(name), "the run has not begun")
        until(lambda: waiting(live, before), "the run does not ask")
        done = polyvox(live, "runs", "approve", before, *more)
        assert (done.returncode, done.stdout.strip()) == (0, says), done.stderr
        answer = going.result()
    assert answer.json()["choices"][0]["message"]["content"] == text
    (note,) = live.ended(answer.headers["x-polyvox-run"], 0)["notes"]
    assert (note["what"], note["approved"]) == ("approval", text == "deployed")
    again = polyvox(live, "runs", "approve", before)
    assert again.returncode == 1


def test_nobody_answers_in_time(live: Live, tmp_path: Path) -> None:
    """The default is taken, and the notes say that nobody decided."""
    register(live, tmp_path, "hasty_gate", 0.2)
    answer = live.post("chat", request("chat", "hasty_gate", stream=False))
    assert answer.json()["choices"][0]["message"]["content"] == "left alone"
    (note,) = live.ended(answer.headers["x-polyvox-run"], 0)["notes"]
    assert note["in_time"] is False
