"""What is missing on a machine is found and comes with its remedy."""

import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from polyvox.activities.model_call.provider import Provider
from polyvox.worker import doctor
from polyvox.worker.doctor import Finding, examine
from polyvox.worker.engine.data_lock import DataLock
from polyvox.worker.engine.ports import EnginePorts, free_port, write_ports
from polyvox.worker.settings.file import EngineSettings, ServerSettings
from polyvox.worker.settings.settings import Settings, SettingsError

CLI = '#!/bin/sh\necho "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)"\n'


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on; nobody answers there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        yield port


@pytest.fixture
async def upstream() -> AsyncIterator[str]:
    """A provider that lists its models and has nothing at its base address."""
    app = FastAPI()
    models = {"object": "list", "data": [{"id": "m"}]}
    app.add_api_route("/v1/models", lambda: models)
    app.add_api_route("/v1/chat/completions", lambda: models, methods=["POST"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup([listener])
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        await server.shutdown([listener])


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine with the Temporal CLI and without anything else."""
    cli = tmp_path / "bin" / "temporal"
    cli.parent.mkdir()
    cli.write_text(CLI)
    cli.chmod(0o755)
    return {"PATH": f"{cli.parent}{os.pathsep}/bin", "HOME": str(tmp_path)}


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    assert len({f.check for f in findings}) == len(findings)
    for finding in findings:
        assert finding.detail
        assert (finding.status == "ok") == (not finding.remedy), finding
    return {finding.check: finding for finding in findings}


async def test_a_machine_with_everything_has_only_good_findings(
    tmp_path: Path, environ: dict[str, str], upstream: str
) -> None:
    """What is wrong with a provider is tested in ``test_provider_check.py``."""
    settings = Settings(
        tmp_path / "data",
        providers={"local": Provider("local", "chat", upstream, "LOCAL_KEY")},
        server=ServerSettings(port=free_port()),
    )
    found = by_check(await examine(settings, environ | {"LOCAL_KEY": "test-key"}))
    assert {f.status for f in found.values()} == {"ok"}
    assert found["local reachable"].detail == f"{upstream}/models responds; models: 1"
    assert found["engine"].detail.endswith("CLI 1.5.1, server 1.29.1")
    assert "created at the first start" in found["data folder"].detail
    assert not (tmp_path / "data").exists()
    assert "test-key" not in str(found)


async def test_what_is_missing_comes_with_its_remedy(tmp_path: Path, taken: int) -> None:
    """No engine, no key, nobody at the provider's address, the port taken."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = Settings(
        tmp_path,
        providers={"local": Provider("local", "chat", nowhere, "LOCAL_KEY")},
        server=ServerSettings(port=taken),
    )
    found = by_check(await examine(settings, {"PATH": "/nowhere", "HOME": str(tmp_path)}))
    assert found["engine"].status == "warn"
    assert "`temporal` on PATH: not found" in found["engine"].detail
    assert "temporal.download" in found["engine"].remedy
    assert found["key of local"].remedy.startswith("export LOCAL_KEY=")
    assert found["local reachable"].status == "warn"
    assert "providers.local.base_url" in found["local reachable"].remedy
    port = found[f"port {taken} (gateway)"]
    assert port.status == "fail"
    assert "--port" in port.remedy


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc/net/tcp")
async def test_the_holder_of_a_port_is_named(
    tmp_path: Path, environ: dict[str, str], taken: int
) -> None:
    """A process id says more than "in use"."""
    settings = Settings(tmp_path, server=ServerSettings(port=taken))
    found = by_check(await examine(settings, environ))
    assert f"process {os.getpid()} (" in found[f"port {taken} (gateway)"].detail


async def test_ports_of_a_running_program_are_its_own(
    tmp_path: Path, environ: dict[str, str], taken: int
) -> None:
    """While the program runs on the data folder, its ports are meant to be taken."""
    data = tmp_path / "data"
    settings = Settings(data, server=ServerSettings(port=taken))
    lock = DataLock(data)
    lock.acquire()
    (data / "engine").mkdir()
    write_ports(data / "engine" / "ports.json", EnginePorts(taken, free_port()))
    found = by_check(await examine(settings, environ))
    assert found[f"port {taken} (gateway)"].status == "ok"
    assert found[f"port {taken} (engine)"].status == "ok"
    assert f"in use by process {os.getpid()}" in found["data folder"].detail
    lock.release()
    found = by_check(await examine(settings, environ))
    assert found[f"port {taken} (engine)"].status == "warn"


async def test_a_data_folder_that_cannot_be_is_found(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """A plain file stands where the folder should be."""
    (tmp_path / "file").touch()
    found = by_check(await examine(Settings(tmp_path / "file" / "data"), environ))
    assert found["data folder"].status == "fail"
    assert "--data" in found["data folder"].remedy


async def test_a_configuration_that_does_not_parse_is_a_finding(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """The rest is examined all the same; its providers are unknown, not absent."""
    mistake = SettingsError("polyvox.toml: server.port: 70000: ...")
    found = by_check(await examine(Settings(tmp_path), environ, mistake))
    assert (found["config"].status, found["config"].detail) == ("fail", str(mistake))
    assert "providers" not in found
    found = by_check(await examine(Settings(tmp_path), environ))
    assert found["config"].status == "ok"
    assert "OPENAI_API_KEY" in found["providers"].remedy


async def test_a_cluster_that_does_not_answer_is_a_finding(
    tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an address there is no search for a binary; silence has a limit."""
    monkeypatch.setattr(doctor, "REACH_LIMIT_S", 1.0)
    for port in (free_port(), taken):
        settings = Settings(tmp_path, engine=EngineSettings(address=f"127.0.0.1:{port}"))
        found = by_check(await examine(settings, {}))
        assert found["engine"].status == "fail"
        assert f"127.0.0.1:{port}" in found["engine"].detail
