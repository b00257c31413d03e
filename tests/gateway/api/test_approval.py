"""A run that waits for a person's word."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.gateway.generate.test_failures import request
from tests.programs import processes
from tests.programs.commands import told, told_json
from tests.programs.running import ADMIN_KEY, Live, until

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
    return live.ask(f"/api/runs/{run_id}").json()["questions"] == ["Deploy?"] or None


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


def test_a_command_that_asked_the_engine_ends_with_its_own_status(live: Live) -> None:
    """The SDK's threads outlive what was asked of them and must not break the end."""
    answer = live.post("chat", request("chat", "plain-chat", stream=False))
    run_id = answer.headers["x-polyvox-run"]
    live.ended(run_id)
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: polyvox(live, "runs", "approve", run_id), range(8)))
    assert {(done.returncode, done.stdout) for done in ended} == {(1, "")}
    assert {done.stderr.strip() for done in ended} == {
        f"Error: Run {run_id} does not wait for that; it asks nothing."
    }


def test_a_run_in_another_namespace_is_answered(tmp_path: Path) -> None:
    """Commands look where the engine of the data folder keeps its runs."""
    (tmp_path / "polyvox.toml").write_text('[engine]\nnamespace = "team"\n', "utf-8")
    (tmp_path / "gate.py").write_text(FLOW.format(name="gate", timeout_s=60), "utf-8")
    data = ("--data", str(tmp_path / "data"))
    start = ("up", "--port", "0", *data)
    with processes.running(*start, folder=tmp_path) as child, ThreadPoolExecutor(1) as pool:
        child.ready()
        registered = processes.command("register", str(tmp_path / "gate.py"), *data)
        assert registered.returncode == 0, registered.stderr
        client = httpx.Client(
            base_url=child.base_url, headers={"x-api-key": child.key}, trust_env=False, timeout=60
        )
        body = request("chat", "gate", stream=False)
        going = pool.submit(client.post, "/v1/chat/completions", json=body)

        def asking() -> str | None:
            runs = client.get("/api/runs").json()["runs"]
            shown = [client.get(f"/api/runs/{run['run_id']}").json() for run in runs]
            return next((run["run_id"] for run in shown if run["questions"]), None)

        run_id = until(asking, "the run does not ask")
        shown = processes.command("runs", "show", run_id, *data)
        assert "It waits for an answer to 'Deploy?'" in shown.stdout
        done = processes.command("runs", "approve", run_id, *data)
        assert (done.returncode, done.stdout.strip()) == (0, "Approved: Deploy?"), done.stderr
        assert going.result().json()["choices"][0]["message"]["content"] == "deployed"
        client.close()


def test_nobody_answers_in_time(live: Live, tmp_path: Path) -> None:
    """The default is taken, and the notes say that nobody decided."""
    register(live, tmp_path, "hasty_gate", 0.2)
    answer = live.post("chat", request("chat", "hasty_gate", stream=False))
    assert answer.json()["choices"][0]["message"]["content"] == "left alone"
    (note,) = live.ended(answer.headers["x-polyvox-run"], 0)["notes"]
    assert note["in_time"] is False


def test_a_run_is_answered_over_http(live: Live, tmp_path: Path) -> None:
    """The run shows its question; an admin's key decides, a user's may not."""
    register(live, tmp_path, "far_gate", 60)
    user = told_json(live, "keys", "create", "visitor")["secret"]
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(live.post, "chat", request("chat", "far_gate", stream=False))
        run_id = until(lambda: live.newest_run("far_gate"), "the run has not begun")
        until(lambda: waiting(live, run_id), "the run does not show its question")
        assert "It waits for an answer to 'Deploy?'" in told(live, "runs", "show", run_id)
        refused = approve(live, run_id, {"approved": True}, key=user)
        assert (refused.status_code, refused.json()["error"]["kind"]) == (403, "permission")
        other = approve(live, run_id, {"approved": True, "question": "Delete?"})
        assert (other.status_code, other.json()["error"]["kind"]) == (409, "conflict")
        assert "'Deploy?'" in other.json()["error"]["message"]
        done = approve(live, run_id, {"approved": True})
        assert done.json() == {"run_id": run_id, "question": "Deploy?", "approved": True}
        assert going.result().json()["choices"][0]["message"]["content"] == "deployed"
    assert live.ended(run_id, 0)["questions"] == []
    assert approve(live, run_id, {"approved": True}).status_code == 409
    assert approve(live, "run_none", {"approved": True}).status_code == 404
    assert approve(live, run_id, {"yes": True}).status_code == 400


def approve(
    live: Live, run_id: str, document: dict[str, object], key: str = ADMIN_KEY
) -> httpx.Response:
    return httpx.post(
        f"{live.base_url}/api/runs/{run_id}/approve",
        json=document,
        headers={"x-api-key": key},
        trust_env=False,
    )
