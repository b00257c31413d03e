"""The program on PostgreSQL, and backup and restore of a running one: real processes."""

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.programs.clients import Client
from tests.programs.postgres import Postgres
from tests.programs.processes import EXECUTABLE, Child, running
from tests.programs.running import KEY, until

PROTOCOLS = ("chat", "messages", "responses")
MODEL = "simulated"
PATHS = {"chat": "chat/completions", "messages": "messages", "responses": "responses"}


@contextmanager
def program(folder: Path, environ: Mapping[str, str]) -> Iterator[Child]:
    arguments = ("up", "--port", "0", "--data", str(folder / "data"))
    with running(*arguments, folder=folder, environ={"POLYVOX_KEY": KEY, **environ}) as child:
        yield child.ready()


def ask(server: Child, protocol: str) -> httpx.Response:
    messages = [{"role": "user", "content": "hello"}]
    asked = {"input": "hello"} if protocol == "responses" else {"messages": messages}
    return httpx.post(
        f"{server.base_url}/v1/{PATHS[protocol]}",
        json={"model": MODEL, "max_tokens": 100, **asked},
        headers={"authorization": f"Bearer {KEY}"},
        timeout=60,
        trust_env=False,
    )


def readiness(server: Child) -> httpx.Response:
    return httpx.get(f"{server.base_url}/readyz", timeout=30, trust_env=False)


@pytest.mark.timeout(300)
def test_the_program_answers_and_goes_on_with_its_stores_in_postgresql(
    tmp_path: Path, postgres: Postgres
) -> None:
    """All protocols; an outage of the database; a restart that continues a stored response."""
    with postgres.bare_database() as database:
        environ = {
            "POLYVOX_DATABASE": database.url,
            "POLYVOX_DEPLOYMENT_KEY": secrets.token_hex(32),
        }
        with program(tmp_path, environ) as first:
            client = Client("responses", first.base_url)
            for protocol in PROTOCOLS:
                assert ask(first, protocol).status_code == 200
            stored = client.sdk.responses.create(model=MODEL, input="hello there")
            assert readiness(first).json()["stores"]["database"] == "ok"

            postgres.stop()
            try:
                until(lambda: readiness(first).status_code == 503, "it stays ready")
                stores = readiness(first).json()["stores"]
                assert "failed" in stores["database"]
                assert "failed" in stores["blobs"]
                for protocol in PROTOCOLS:
                    refused = ask(first, protocol)
                    assert refused.status_code in (503, 529)
                    assert int(refused.headers["retry-after"]) >= 1
                    assert "database" in refused.json()["error"]["message"]
            finally:
                postgres.start()
            until(lambda: readiness(first).status_code == 200, "it is not ready again")
            until(lambda: ask(first, "chat").status_code == 200, "no request is answered")
            client.close()
            assert first.stop() == 0
        with program(tmp_path, environ) as second:
            again = Client("responses", second.base_url)
            then = again.sdk.responses.create(
                model=MODEL, input="and now", previous_response_id=stored.id
            )
            assert "turn 2" in then.output_text.lower()
            again.close()
        assert not (tmp_path / "data" / "polyvox.db").exists()


def test_a_shared_database_needs_the_deployment_key(tmp_path: Path, postgres: Postgres) -> None:
    """The error names the variable, and the command that makes a key."""
    with postgres.new_database() as database:
        address = ("--database", database.url)
        done = command("up", "--port", "0", "--data", str(tmp_path), *address)
    assert done.returncode == 1
    assert "POLYVOX_DEPLOYMENT_KEY" in done.stderr
    assert "secrets.token_hex(32)" in done.stderr
    assert database.url not in done.stderr


@pytest.mark.timeout(600)
def test_a_backup_of_a_running_server_is_a_whole_data_folder(tmp_path: Path) -> None:
    """It is complete although requests are answered meanwhile, and a restored one goes on."""
    data, copy = tmp_path / "data", tmp_path / "copy"
    with program(tmp_path, {}) as server:
        client = Client("responses", server.base_url)
        stored = client.sdk.responses.create(model=MODEL, input="hello there")
        client.close()
        until(lambda: rows_of(data), "nothing is stored")
        killed = subprocess.Popen(
            [EXECUTABLE, "storage", "backup", str(copy), "--data", str(data)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert not copy.exists()
        made = json_of("backup", data, str(copy))
        assert {"polyvox.db", "blobs.db", "credentials_key"} <= made["files"].keys()
        assert any(name.startswith("engine/temporal-") for name in made["files"])
        assert json_of("check", data) == {"damaged": [], "unresolved": []}
        collected = json_of("gc", data)
        assert collected["removed"] == 0
        assert collected["used"] > 0
        again = command("storage", "backup", str(copy), "--data", str(data))
        assert "exists already" in again.stderr
        assert server.stop() == 0

    refused = command("storage", "restore", str(copy), "--data", str(data))
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr
    shutil.move(data, tmp_path / "gone")
    assert json_of("restore", data, str(copy))["files"].keys() == made["files"].keys()
    assert json_of("check", data) == {"damaged": [], "unresolved": []}
    with program(tmp_path, {}) as restored:
        client = Client("responses", restored.base_url)
        then = client.sdk.responses.create(
            model=MODEL, input="and now", previous_response_id=stored.id
        )
        assert "turn 2" in then.output_text.lower()
        client.close()

    (copy / "blobs.db").write_bytes(b"damaged")
    other = command("storage", "restore", str(copy), "--data", str(tmp_path / "other"))
    assert "blobs.db" in other.stderr
    assert not (tmp_path / "other").exists()


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = {n: v for n, v in os.environ.items() if not n.startswith("POLYVOX_")}
    return subprocess.run(
        [EXECUTABLE, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def rows_of(data: Path) -> int:
    return int(json_of("show", data)["rows"]["responses"])


def json_of(words: str, data: Path, *arguments: str) -> Any:
    done = command("storage", words, *arguments, "--data", str(data), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
