"""Keeps the tests on this machine: a connection to any other one is an error."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest


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
