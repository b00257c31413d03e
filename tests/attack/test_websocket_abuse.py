"""A WebSocket cannot be used to avoid the limits of HTTP or to exhaust the server."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.attack import floods
from tests.attack.flooded import Flooded, disturbed, flooded
from tests.attack.floods import MIB
from tests.programs.processes import EXECUTABLE
from tests.programs.running import until

SETTINGS = """
read_timeout_s = 2
write_timeout_s = 3
max_requests_per_key = 8
max_body_mib = 8
"""
MOST_RATIO = 10
TEXT, CONTINUATION, PING = 0x1, 0x0, 0x9


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flooded]:
    with flooded(tmp_path_factory.mktemp("sockets"), SETTINGS) as running:
        yield running
        assert "Traceback" not in running.child.output.read_text("utf-8")


@contextmanager
def opened(server: Flooded, key: str = "") -> Iterator[ClientConnection]:
    with connect(
        server.base_url.replace("http://", "ws://") + "/v1/responses",
        additional_headers={"authorization": f"Bearer {key or server.key}"},
        proxy=None,
        max_size=None,
        ping_interval=None,
    ) as connection:
        yield connection


def asked(model: str = "other:main-n20", **more: object) -> str:
    return json.dumps({"type": "response.create", "model": model, "input": "Say ok", **more})


def next_end(connection: ClientConnection) -> dict[str, object]:
    """Return the next event that ends a request."""
    while True:
        event: dict[str, object] = json.loads(connection.recv(timeout=60))
        if event["type"] in ("response.completed", "response.failed", "error"):
            return event


def error_of(connection: ClientConnection) -> tuple[object, str]:
    event = next_end(connection)
    assert event["type"] == "error", event
    return event["status"], str(event["message"])


def frame(code: int, data: bytes = b"", *, last: bool = True, length: int | None = None) -> bytes:
    """A frame as a client sends it, with a mask of zeros; ``length`` is what it claims."""
    size = len(data) if length is None else length
    head = bytes([(0x80 if last else 0) | code])
    if size < 126:
        head += bytes([0x80 | size])
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + data


@contextmanager
def raw(server: Flooded) -> Iterator[socket.socket]:
    """A connection after its handshake, for bytes that no library would send."""
    with server.connect() as connection:
        connection.sendall(
            b"GET /v1/responses HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n"
            b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"
            b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-extensions: "
            b"permessage-deflate\r\nauthorization: Bearer " + server.key.encode() + b"\r\n\r\n"
        )
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += connection.recv(1)
        assert received.startswith(b"HTTP/1.1 101 ")
        assert b"deflate" not in received, "a few KiB could unpack to a whole message"
        yield connection


def closing(connection: socket.socket) -> bytes:
    """Return the bytes received until the server closes."""
    received = b""
    with suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_values_and_depth_are_limited_as_over_http(server: Flooded) -> None:
    with opened(server) as connection:
        connection.send(asked(x=[0] * 300_001))
        status, message = error_of(connection)
        assert (status, "300000 JSON values" in message) == (413, True)
        connection.send(asked()[:-1] + ', "x": ' + "[" * 200 + "]" * 200 + "}")
        status, message = error_of(connection)
        assert (status, "128 levels" in message) == (400, True)
        connection.send(asked(input=[{"role": "user", "content": "a"}] * 20_001))
        status, message = error_of(connection)
        assert (status, "at most 20000" in message) == (413, True)
        connection.send(asked())
        assert next_end(connection)["type"] == "response.completed"


def test_a_large_message_holds_nobody_up(server: Flooded) -> None:
    def attack(target: Flooded) -> None:
        with opened(target) as connection:
            connection.send(asked(input="a, b " * (7 * MIB // 5)))
            assert next_end(connection)["type"] == "response.completed"

    assert disturbed(server, attack).ratio < MOST_RATIO


def test_messages_that_wait_are_bounded_in_bytes(server: Flooded) -> None:
    """During one answer, one further message of the maximum size may wait."""

    def attack(target: Flooded) -> bytes:
        with raw(target) as connection:
            connection.sendall(frame(TEXT, asked("other:main-stall1-idsocket").encode()))
            large = frame(TEXT, asked(input="a" * (7 * MIB)).encode())
            with suppress(ConnectionError):
                for _ in range(16):
                    connection.sendall(large)
            return closing(connection)

    found = disturbed(server, attack)
    assert isinstance(found.answer, bytes)
    assert b"Too many requests are waiting" in found.answer
    assert found.ratio < MOST_RATIO
    assert found.peak_mib < found.before_mib + 80


def test_messages_in_advance_are_answered_in_turn(server: Flooded) -> None:
    with opened(server) as connection:
        for _ in range(30):
            connection.send(asked())
        for _ in range(30):
            assert next_end(connection)["type"] == "response.completed"


def test_a_revoked_key_ends_its_socket(server: Flooded) -> None:
    """The next message is refused; a running request may finish."""
    created = keys(server, "create", "short-lived", "--json")
    secret = json.loads(created)["secret"]
    with opened(server, secret) as connection:
        connection.send(asked())
        assert next_end(connection)["type"] == "response.completed"
        keys(server, "revoke", json.loads(created)["key_id"])
        models = f"GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: {secret}\r\n\r\n".encode()
        until(lambda: floods.sent(server, [models]).status == 401, "the key still opens")
        connection.send(asked())
        status, message = error_of(connection)
        assert (status, "revoked" in message) == (401, True)
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


def keys(server: Flooded, *arguments: str) -> str:
    data = server.child.output.parent / "data"
    done = subprocess.run(
        [EXECUTABLE, "keys", *arguments, "--data", str(data)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
    )
    return done.stdout


def test_a_keys_requests_count_over_both_ways(server: Flooded) -> None:
    body = json.dumps(floods.question("other:main-stall1-idboth", stream=True)).encode()
    with ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(server.connect())
            connection.sendall(floods.head(server, len(body)) + body)
            assert connection.recv(12).startswith(b"HTTP/1.1 200")
        with opened(server) as connection_ws:
            connection_ws.send(asked())
            status, message = error_of(connection_ws)
            assert (status, "max_requests_per_key" in message) == (429, True)


def test_a_ping_flood_ends_its_socket(server: Flooded) -> None:
    def attack(target: Flooded) -> bytes:
        with raw(target) as connection:
            with suppress(ConnectionError):
                for _ in range(100):
                    connection.sendall(frame(PING) * 10_000)
            return closing(connection)

    found = disturbed(server, attack)
    assert found.ratio < MOST_RATIO


def test_empty_fragments_without_end_end_their_socket(server: Flooded) -> None:
    def attack(target: Flooded) -> bytes:
        with raw(target) as connection:
            connection.sendall(frame(TEXT, b"{", last=False))
            with suppress(ConnectionError):
                for _ in range(100):
                    connection.sendall(frame(CONTINUATION, last=False) * 10_000)
            return closing(connection)

    found = disturbed(server, attack)
    assert found.ratio < MOST_RATIO
    assert found.peak_mib < found.before_mib + 50


def test_tiny_messages_without_end_end_their_socket(server: Flooded) -> None:
    def attack(target: Flooded) -> bytes:
        with raw(target) as connection:
            with suppress(ConnectionError):
                for _ in range(100):
                    connection.sendall(frame(TEXT, b"{}") * 10_000)
            return closing(connection)

    found = disturbed(server, attack)
    assert found.ratio < MOST_RATIO
    assert found.peak_mib < found.before_mib + 80


@pytest.mark.parametrize(
    "begun",
    [frame(TEXT, b'{"type":', last=False), frame(TEXT, b'{"type":', length=5 * MIB), b"\x81"],
    ids=["a fragment", "a frame", "half a head"],
)
def test_a_message_that_does_not_come_ends_its_socket(server: Flooded, begun: bytes) -> None:
    with raw(server) as connection:
        connection.sendall(begun)
        assert b"did not arrive in time" in closing(connection)


def test_a_message_that_is_too_large_ends_its_socket(server: Flooded) -> None:
    with raw(server) as connection:
        connection.sendall(frame(TEXT, b"{", length=9 * MIB))
        assert closing(connection)[2:4] == (1009).to_bytes(2, "big")


def test_bytes_that_are_not_text_are_refused(server: Flooded) -> None:
    with raw(server) as connection:
        connection.sendall(frame(TEXT, b'{"a": "\xff\xfe"}'))
        assert b"not valid JSON" in connection.recv(65536)


def test_a_socket_that_reads_nothing_is_let_go(server: Flooded) -> None:
    with floods.provider(server, floods.endless_answer()) as closed, raw(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(frame(TEXT, asked("endless:m").encode()))
        assert closed.wait(60), "the provider's stream is still open"


def test_leaving_is_noticed_while_an_answer_is_made(server: Flooded) -> None:
    with floods.provider(server, floods.endless_answer()) as closed:
        with raw(server) as connection:
            connection.sendall(frame(TEXT, asked("endless:m").encode()))
            assert b"response.created" in connection.recv(65536)
        assert closed.wait(10), "the provider's stream is still open"


def test_leaving_is_noticed_while_as_many_messages_wait_as_may(server: Flooded) -> None:
    with floods.provider(server, floods.endless_answer()) as closed:
        with raw(server) as connection:
            connection.sendall(frame(TEXT, asked("endless:m").encode()))
            assert b"response.created" in connection.recv(65536)
            connection.sendall(frame(TEXT, asked().encode()) * 64)
        assert closed.wait(10), "the provider's stream is still open"


def test_leaving_in_the_middle_is_no_defect(server: Flooded) -> None:
    """The fixture looks for tracebacks."""
    for begun in (b"", b"\x81", frame(TEXT, b"{", last=False), frame(TEXT, b"{}") * 100):
        with raw(server) as connection:
            connection.sendall(begun)
    time.sleep(0.2)  # nothing can be waited for: nothing is to happen
