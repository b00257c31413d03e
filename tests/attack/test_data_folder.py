"""Files of the data folder: who may read them, and the messages when they are damaged."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.attack.conftest import ADMIN_KEY, KEY, Target
from tests.programs.processes import Child, command, running
from tests.programs.running import LIMIT_S, until

ENVIRON = {"POLYVOX_KEY": KEY, "POLYVOX_ADMIN_KEY": ADMIN_KEY}
LONG = "Tell me more. " * 200


def ask(base_url: str, path: str, document: Any = None) -> httpx.Response:
    method = "GET" if document is None else "POST"
    headers = {"x-api-key": KEY}
    url = base_url + path
    return httpx.request(
        method, url, json=document, headers=headers, timeout=LIMIT_S, trust_env=False
    )


def printed(child: Child) -> str:
    return child.output.read_text("utf-8", errors="replace")


def started(folder: Path) -> Any:
    """Run the server in ``folder`` on its data folder ``data``."""
    return running(
        *("up", "--port", "0", "--data", str(folder / "data")), folder=folder, environ=ENVIRON
    )


def open_to_others(data: Path) -> dict[str, str]:
    return {
        str(path.relative_to(data)): oct(path.stat().st_mode & 0o777)
        for path in data.rglob("*")
        if path.is_file() and path.stat().st_mode & 0o077
    }


def test_nobody_else_can_read_what_the_server_writes(target: Target) -> None:
    """Databases, their logs, keys, the engine's history: whatever the umask of the shell."""
    assert ask(target.base_url, "/v1/responses", {"model": "simulated", "input": LONG}).is_success
    assert open_to_others(target.data) == {}


def test_files_that_were_open_to_others_are_closed_at_the_next_start(tmp_path: Path) -> None:
    """Also in a folder that everybody may enter; files the program did not create do not change."""
    data = tmp_path / "data"
    with started(tmp_path) as child:
        child.ready().stop()
    data.chmod(0o755)
    for path in data.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (data / "polyvox.toml").touch(0o644)
    with started(tmp_path) as child:
        child.ready()
        child.printed(r"(Removed other users' read access to \d+ files in \S+)")
        assert set(open_to_others(data)) == {"polyvox.toml"}
        child.stop()


@pytest.fixture(scope="module")
def emptied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, dict[str, Any]]]:
    """A server whose blob store lost its content, and a response from before."""
    folder = tmp_path_factory.mktemp("emptied")
    with started(folder) as child:
        document = {"model": "simulated", "input": LONG}
        response = ask(child.ready().base_url, "/v1/responses", document).json()
        thread = {"items": [{"type": "message", "role": "user", "content": LONG}]}
        made = ask(child.base_url, "/v1/conversations", thread).json()
        found = {"response": response["id"], "conversation": made["id"]}
        until(lambda: ask(child.base_url, f"/v1/responses/{found['response']}").is_success, "kept")
        child.stop()
    for file in (folder / "data").glob("blobs.db*"):
        file.unlink()
    with started(folder) as child:
        yield child.ready(), found
        child.stop()


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/responses/{response}", None),
        ("/v1/responses/{response}/input_items", None),
        ("/v1/responses", {"previous_response_id": "{response}", "input": "And?"}),
        ("/v1/responses", {"conversation": "{conversation}", "input": "And?"}),
        ("/v1/responses/input_tokens", {"previous_response_id": "{response}", "input": "And?"}),
        ("/v1/conversations/{conversation}/items", None),
    ],
)
def test_lost_content_is_not_found(
    emptied: tuple[Child, dict[str, Any]], path: str, document: dict[str, Any] | None
) -> None:
    """A client that refers to it gets an error that says to send the conversation again."""
    child, found = emptied
    body = json.loads(json.dumps(document).replace("{response}", found["response"]))
    if body is not None:
        body = json.loads(json.dumps(body).replace("{conversation}", found["conversation"]))
        body["model"] = "simulated"
    answer = ask(child.base_url, path.format(**found), body)
    assert answer.status_code == 404, answer.text
    assert "Send the whole conversation instead" in answer.json()["error"]["message"]


def damaged_header(file: Path) -> None:
    file.write_bytes(b"This is not a database. " * 400)


def cut_in_the_middle(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2 // 4096 * 4096)


def made_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.fixture(scope="module")
def used_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that a server has used, with all of its databases checkpointed."""
    folder = tmp_path_factory.mktemp("used")
    with started(folder) as child:
        ask(child.ready().base_url, "/v1/responses", {"model": "simulated", "input": LONG})
        child.stop()
    for name in ("polyvox.db", "blobs.db"):
        with closing(sqlite3.connect(folder / "data" / name)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "data"


@pytest.mark.parametrize("name", ["polyvox.db", "blobs.db"])
@pytest.mark.parametrize("damage", [damaged_header, cut_in_the_middle, made_a_folder])
def test_a_damaged_database_is_named_at_the_start(
    used_folder: Path, tmp_path: Path, name: str, damage: Any
) -> None:
    """The message names the file and what to do, without a traceback; or the server starts anyway.

    The start may not reach the damaged part of a truncated database.
    """
    data = tmp_path / "data"
    shutil.copytree(used_folder, data)
    damage(data / name)
    with started(tmp_path) as child:
        until(lambda: "Base URL" in printed(child) or child.process.poll() is not None, "no end")
        if child.process.poll() is None:
            assert damage is cut_in_the_middle
            child.stop()
            return
        assert "Traceback" not in printed(child)
        assert name in printed(child)
        assert "cannot be opened" in printed(child)


def test_a_command_names_a_damaged_database(used_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(used_folder, data)
    damaged_header(data / "polyvox.db")
    for words in (["runs", "list"], ["keys", "list"], ["models", "list"], ["flows", "list"]):
        done = command(*words, "--data", str(data))
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        assert "polyvox.db" in done.stderr


def test_an_exported_run_is_private(target: Target, tmp_path: Path) -> None:
    """It contains the run's prompts and answers."""
    answer = ask(target.base_url, "/v1/responses", {"model": "simulated", "input": "hello"})
    file = tmp_path / "run.json"
    run_id = answer.headers["x-polyvox-run"]
    done = command("runs", "export", run_id, str(file), "--data", str(target.data))
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
