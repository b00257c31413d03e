"""A disk that is full: requests are refused in plain words, and work again when there is space."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.programs.processes import Child, running
from tests.programs.running import PATHS, PROTOCOLS, until

KEY = "test-key-long-enough"
SIZE = "24m"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


@pytest.fixture(scope="module")
def server(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    words = ("up", "--port", "0", "--data", str(disk / "data"))
    folder = tmp_path_factory.mktemp("server")
    with running(*words, folder=folder, environ={"POLYVOX_KEY": KEY}) as child:
        yield child.ready()


def ask(server: Child, protocol: str, *, stream: bool, text: str = "hello") -> httpx.Response:
    document: dict[str, Any] = {"model": "simulator:main", "stream": stream}
    if protocol == "responses":
        document["input"] = text
    else:
        document |= {"max_tokens": 100, "messages": [{"role": "user", "content": text}]}
    url = f"{server.base_url}{PATHS[protocol]}"
    headers = {"x-api-key": KEY}
    return httpx.post(url, json=document, headers=headers, timeout=60, trust_env=False)


def readiness(server: Child) -> httpx.Response:
    return httpx.get(f"{server.base_url}/readyz", timeout=30, trust_env=False)


@pytest.fixture
def full(disk: Path, server: Child) -> Iterator[Child]:
    """The server while its disk has no free space."""
    rest = disk / "rest"
    # Without a buffer: closing the file would try to write the rest of it once more.
    with rest.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(65536))
    until(lambda: readiness(server).status_code == 503, "the server stays ready")
    yield server
    rest.unlink()
    until(lambda: readiness(server).status_code == 200, "the server is not ready again")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_request_is_refused_with_when_to_try_again(
    full: Child, protocol: str, stream: bool
) -> None:
    """503 with retry-after in the protocol's own document, and no traceback in the log."""
    before = len(full.output.read_bytes())
    text = os.urandom(200_000).hex()
    answer = ask(full, protocol, stream=stream, text=text)
    assert answer.status_code in (503, 529), answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["message"]
    assert b"Traceback" not in full.output.read_bytes()[before:]


def test_readyz_names_the_stores_and_healthz_goes_on(full: Child) -> None:
    stores = readiness(full).json()["stores"]
    assert {"polyvox.db", "blobs.db"} <= {*stores}
    assert {*stores.values()} == {"the disk is full", "the server's disk is full"}
    assert httpx.get(f"{full.base_url}/healthz", trust_env=False).status_code == 200


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_are_answered_when_there_is_space_again(server: Child, protocol: str) -> None:
    def answered() -> bool:
        return ask(server, protocol, stream=False).status_code == 200

    until(answered, "no request is answered")
    stores = readiness(server).json()["stores"]
    assert {*stores.values()} == {"ok"}


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_a_store_that_cannot_grow_is_named(server: Child) -> None:
    """Also where the disk has space: a quota, or a limit of the size of files."""
    pid = server.process.pid
    whole = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, whole[1]))
    try:
        until(lambda: readiness(server).status_code == 503, "the server stays ready")
        stores = readiness(server).json()["stores"]
        assert stores["polyvox.db"] != "ok"
        assert stores["blobs.db"] != "ok"
        answer = ask(server, "chat", stream=False, text=os.urandom(1000).hex())
        assert answer.status_code == 503
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, whole)
    until(lambda: readiness(server).status_code == 200, "the server is not ready again")
