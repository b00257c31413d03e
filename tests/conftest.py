"""Keeps the tests on this machine, and saves time: the slowest files are started first."""

import ipaddress
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import certifi
import pytest

from tests.programs.postgres import Postgres, running_postgres
from tests.programs.s3 import running_s3

SLOWEST = (
    "attack/test_floods.py",
    "gateway/generate/test_failures.py",
    "attack/test_scanners.py",
    "attack/test_canaries.py",
    "crash/test_matrix.py",
    "attack/test_websocket_abuse.py",
    "worker/registering/test_registration.py",
    "attack/test_sandbox.py",
    "gateway/test_processes.py",
    "attack/test_keys.py",
    "attack/test_data_folder.py",
    "attack/test_listing.py",
    "gateway/generate/test_runaway.py",
    "gateway/responses/test_crash.py",
    "gateway/templates/test_hidden_transcript.py",
)
"""Files that take long although they have few tests, slowest first. If a process of ``make test``
got one of them last, the other processes would wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests of the slowest files to the front."""
    folder = Path(__file__).parent
    rank = {folder / name: at for at, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL; tests make databases of their own on it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[Mapping[str, str]]:
    """A running S3-compatible server: the environment of its clients."""
    with running_s3() as environ:
        yield environ


def _is_local(sock: socket.socket, address: Any) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = address[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def only_loopback() -> Iterator[None]:
    """Refuse connections that leave this machine.

    Covers what goes through Python's sockets in the test process: blocking clients and asyncio.
    Child processes and native event loops open sockets of their own.
    """
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guard(sock: socket.socket, address: Any) -> None:
        if not _is_local(sock, address):
            raise AssertionError(
                f"A test tried to connect to {address!r}. "
                "Tests reach loopback only: start a server on 127.0.0.1 and connect to that."
            )

    def guarded_connect(sock: socket.socket, address: Any) -> None:
        guard(sock, address)
        connect(sock, address)

    def guarded_connect_ex(sock: socket.socket, address: Any) -> int:
        guard(sock, address)
        return connect_ex(sock, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        yield


@pytest.fixture(autouse=True, scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let HTTP clients load one certificate authority, and not all.

    Each new client loads them, in 25 ms of CPU, and no test connects to another machine.
    """
    bundle = Path(certifi.where()).read_text(encoding="utf-8")
    end = "-----END CERTIFICATE-----\n"
    file = tmp_path_factory.mktemp("authorities") / "one.pem"
    file.write_text(bundle[: bundle.index(end) + len(end)], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(file))
        yield
