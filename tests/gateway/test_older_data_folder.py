"""A data folder of an earlier version, opened by this one; see ``tests/fixtures/data_folder``."""

import json
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyvox.activities.storage.database import BLOBS, MAIN
from polyvox.worker.engine.ports import free_port
from tests.programs.clients import Client
from tests.programs.commands import told, told_json
from tests.programs.running import ENVIRON, Live, live_program

FIXTURE = Path(__file__).parent.parent / "fixtures/data_folder"

Made = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder, in ``data`` below what is returned."""
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(FIXTURE / "data_folder.tar.xz") as packed:
        packed.extractall(folder / "data", filter="data")
    return folder


@pytest.fixture(scope="module")
def made(folder: Path) -> Made:
    """What the earlier version answered, by what was asked of it."""
    made: Made = json.loads((folder / "data/made.json").read_text("utf-8"))
    return made


@pytest.fixture(scope="module")
def older(folder: Path, made: Made) -> Iterator[Live]:
    """This program on the folder. Kept responses stay for a century, however old the folder is."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    models = (FIXTURE / "models.toml").read_text("utf-8")
    dead = f"http://127.0.0.1:{free_port()}/v1"
    stays = "keep_responses_days = 36_500"
    with live_program(folder, dead, environ, models, server=stays) as live:
        yield live


def chat(live: Live, model: str, *texts: str) -> str:
    roles = ("user", "assistant") * len(texts)
    said = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]
    answer = live.post("chat", {"model": model, "messages": said})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def sent_to_simulator(live: Live, model: str) -> list[Any]:
    """Return the bodies that the program's built-in simulator got for ``model``."""
    simulator = live.program.runtime.providers["simulator"].base_url.removesuffix("/v1")
    got = httpx.get(f"{simulator}/requests", params={"model": model}, trust_env=False)
    return [request["body"] for request in got.json()["requests"]]


def test_its_databases_are_migrated_at_the_start(older: Live) -> None:
    """Each to the newest revision of its own."""
    for name, schema in (("polyvox.db", MAIN), ("blobs.db", BLOBS)):
        database = sqlite3.connect(f"file:{older.data / name}?mode=ro", uri=True)
        found = database.execute("SELECT version_num FROM alembic_version").fetchall()
        database.close()
        assert found == [(schema.revisions[-1],)]


@pytest.mark.parametrize("name", ["direct", "fusion", "hidden", "registered"])
def test_its_runs_are_listed_and_shown(older: Live, made: Made, name: str) -> None:
    """With their calls, over HTTP and by the command line."""
    run_id = made[name]["run"]
    assert run_id in [run["run_id"] for run in told_json(older, "runs", "list")]
    shown = told_json(older, "runs", "show", run_id)
    assert shown["status"] == "completed"
    assert {call["status"] for call in shown["calls"]} == {"completed"}
    assert run_id in told(older, "runs", "show", run_id)
    assert older.ended(run_id)["calls"] == shown["calls"]


@pytest.mark.parametrize("name", ["direct", "fusion", "hidden", "registered"])
def test_its_runs_replay(older: Live, made: Made, name: str) -> None:
    """Their flows do today what the engine's history says that they did."""
    if len([*older.data.glob("engine/temporal-*.db")]) > 1:
        pytest.skip("the engine on this machine is not of the version that wrote the histories")
    (verdict,) = told_json(older, "runs", "replay", made[name]["run"])["verdicts"]
    assert verdict["holds"], verdict


def test_its_registered_flow_serves(older: Live, made: Made) -> None:
    """By the version that it had, and as the newest of its name."""
    assert chat(older, "listener", "And now?") == made["registered"]["text"]
    assert chat(older, "listener@1", "And now?") == made["registered"]["text"]


def test_its_models_serve(older: Live, made: Made) -> None:
    """They ask their models as before; what those say is today's simulator's."""
    assert "“hello there”" in chat(older, "plain", made["direct"]["asked"])
    hidden = chat(older, "asks-expert", made["hidden"]["asked"])
    assert "ask_expert returned: [simulated:sage]" in hidden
    assert "Answers compared: A, B, C." in chat(older, "panel", made["fusion"]["asked"])


def test_its_kept_response_continues(older: Live, made: Made) -> None:
    """A request goes on from it, and it can still be read."""
    kept = made["response"]
    client = Client("responses", older.base_url)
    sdk: Any = client.sdk
    assert sdk.responses.retrieve(kept["id"]).output_text == kept["output"][0]["content"][0]["text"]
    answer = sdk.responses.create(model="plain", input="go on", previous_response_id=kept["id"])
    assert "turn 2" in answer.output_text.lower()
    client.close()


def test_its_conversation_continues(older: Live, made: Made) -> None:
    """It has what was said in it, and takes what is said from now on."""
    client = Client("responses", older.base_url)
    sdk: Any = client.sdk

    def texts() -> list[str]:
        listed = sdk.conversations.items.list(made["conversation"], order="asc")
        return [item.content[0].text for item in listed]

    before = texts()
    assert before[:2] == ["My name is Ada.", "hello from Ada"]
    sdk.conversations.update(made["conversation"], metadata={"team": "red"})
    answer = sdk.responses.create(
        model="plain", input="hello again", conversation=made["conversation"]
    )
    assert texts() == [*before, "hello again", answer.output_text]
    client.close()


def test_its_background_response_is_streamed_again(older: Live, made: Made) -> None:
    """From the frames that were kept of it."""
    answer = older.ask(f"/v1/responses/{made['background']}?stream=true")
    assert answer.status_code == 200, answer.text
    assert "response.completed" in answer.text


def test_its_hidden_transcript_continues(older: Live, made: Made) -> None:
    """The worker gets the call that the client never saw, and its result, on the next turn."""
    hidden = made["hidden"]
    chat(older, "asks-expert", hidden["asked"], hidden["text"], "Thank you.")
    *_, last = sent_to_simulator(older, "main-idworker")
    roles = [message["role"] for message in last["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    (call,) = last["messages"][1]["tool_calls"]
    assert call["function"]["name"] == "ask_expert"
