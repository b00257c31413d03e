"""`polyvox doctor` asks the server that runs on the data folder."""

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from polyvox.activities.model_call.provider import Provider
from polyvox.worker.doctor import Finding, examine
from polyvox.worker.engine.data_lock import DataLock
from polyvox.worker.engine.ports import free_port
from polyvox.worker.server_file import (
    read_server_file,
    remove_server_file,
    running_server,
    write_server_file,
)
from polyvox.worker.settings.file import ServerSettings
from polyvox.worker.settings.settings import Settings

STATES: dict[str, Any] = {"engine": "running", "stores": {"polyvox.db": "ok"}}


@pytest.fixture
async def server() -> AsyncIterator[int]:
    """A server that answers ``/readyz`` with what STATES says; yields its port."""
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        ready = {*STATES["stores"].values()} == {"ok"}
        return JSONResponse(STATES, 200 if ready else 503)

    running = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running.config.load()
        running.lifespan = running.config.lifespan_class(running.config)
        await running.startup([listener])
        yield listener.getsockname()[1]
        await running.shutdown([listener])


async def found(
    tmp_path: Path, port: int, *, server_has: dict[str, str], shell_has: dict[str, str]
) -> dict[str, Finding]:
    """Return the findings beside a server on ``port``, started with ``server_has`` set."""
    data = tmp_path / "data"
    config = tmp_path / "polyvox.toml"
    config.touch()
    lock = DataLock(data)
    lock.acquire()
    described = running_server(
        version="9.9",
        base_url=f"http://127.0.0.1:{port}",
        port=port,
        config=config,
        environ=server_has,
    )
    write_server_file(data, described)
    provider = Provider("local", "chat", f"http://127.0.0.1:{free_port()}", "LOCAL_KEY")
    settings = Settings(
        data,
        config=config,
        providers={"local": provider},
        server=ServerSettings(port=free_port()),
    )
    if "CHANGE" in shell_has:
        config.write_text("# changed", "utf-8")
    try:
        return {finding.check: finding for finding in await examine(settings, shell_has)}
    finally:
        lock.release()


async def test_a_ready_server_is_reported_with_its_own_port(tmp_path: Path, server: int) -> None:
    """Not with the port that the configuration says now."""
    findings = await found(tmp_path, server, server_has={"LOCAL_KEY": "x"}, shell_has={})
    assert findings["server"].status == "ok"
    assert f"process {os.getpid()}, Polyvox 9.9" in findings["server"].detail
    assert findings[f"port {server} (gateway)"].status == "ok"
    assert findings["key of local"].detail == f"set in LOCAL_KEY of process {os.getpid()}"


async def test_a_key_that_only_the_shell_has_is_a_warning(tmp_path: Path, server: int) -> None:
    findings = await found(tmp_path, server, server_has={}, shell_has={"LOCAL_KEY": "secret"})
    key = findings["key of local"]
    assert key.status == "warn"
    assert "not set in the environment of the server" in key.detail
    assert "although it is set here" in key.detail
    assert key.remedy == "Restart the server with LOCAL_KEY."
    assert "secret" not in str(findings)


async def test_a_changed_configuration_is_a_warning(tmp_path: Path, server: int) -> None:
    findings = await found(tmp_path, server, server_has={}, shell_has={"CHANGE": "yes"})
    assert findings["server"].status == "warn"
    assert "was changed after it was read" in findings["server"].detail


async def test_a_store_that_cannot_be_written_is_named(
    tmp_path: Path, server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STATES, "stores", {"polyvox.db": "ok", "blobs.db": "the disk is full"})
    findings = await found(tmp_path, server, server_has={}, shell_has={})
    assert findings["server"].status == "warn"
    assert "blobs.db: the disk is full" in findings["server"].detail


async def test_a_server_that_does_not_answer_is_a_warning(tmp_path: Path) -> None:
    findings = await found(tmp_path, free_port(), server_has={}, shell_has={})
    assert findings["server"].status == "warn"
    assert "does not answer" in findings["server"].detail


def test_the_file_has_names_of_variables_and_no_values(tmp_path: Path) -> None:
    """It is private, and what another process left is not believed."""
    environ = {"SOME_KEY": "a-secret-value", "BLANK": " "}
    described = running_server(version="1", base_url="", port=1, config=None, environ=environ)
    write_server_file(tmp_path, described)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "a-secret-value" not in file.read_text("utf-8")
    read = read_server_file(tmp_path, os.getpid())
    assert read == described
    assert described.variables == ("SOME_KEY",)
    assert read_server_file(tmp_path, os.getpid() + 1) is None
    remove_server_file(tmp_path)
    assert read_server_file(tmp_path, os.getpid()) is None
