"""Malformed HTTP, headers and WebSockets cause no 500, no traceback and no hang."""

import json
import re
import socket
import struct
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.attack import floods
from tests.attack.flooded import Flooded, flooded
from tests.attack.floods import MIB
from tests.programs.running import until

SETTINGS = """
read_timeout_s = 2
write_timeout_s = 3
max_requests_per_key = 8
max_body_mib = 8
"""

VISIBLE = re.compile(r"[\t\r\n -~]*")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flooded]:
    with flooded(tmp_path_factory.mktemp("abused"), SETTINGS) as running:
        yield running


@pytest.fixture(autouse=True)
def quiet(server: Flooded) -> Iterator[None]:
    """Whatever a client does, the log has no traceback and the server continues."""
    before = len(server.child.output.read_bytes())
    yield
    assert httpx.get(f"{server.base_url}/healthz", trust_env=False).is_success
    printed = server.child.output.read_bytes()[before:].decode(errors="replace")
    assert "Traceback" not in printed, printed


# -- Headers that Polyvox writes -------------------------------------------------------------------

NASTY = ["a\r\nset-cookie: stolen", "nul\0byte", "bell\x07", "del\x7f", "café ☕", "\ue000"]


def across(path: str, stream: bool, **more: object) -> bytes:
    """A request with fields that cannot be carried over to a Chat provider."""
    name = "input" if path == "responses" else "messages"
    talk = [{"role": "user", "content": "Say exactly: ok"}]
    asked = {"model": "other:main-n20", "max_tokens": 50, name: talk, "stream": stream, **more}
    return json.dumps(asked).encode()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ["messages", "responses"])
def test_a_fields_name_cannot_break_the_answers_headers(
    server: Flooded, path: str, stream: bool
) -> None:
    told = floods.posted(server, across(path, stream, **dict.fromkeys(NASTY, 1)), f"/v1/{path}")
    assert told.status == 200
    assert VISIBLE.fullmatch(told.head)
    assert "\nset-cookie" not in told.head
    losses = re.search("x-polyvox-losses: (.*)\r\n", told.head + "\r\n")
    assert losses
    assert "a%0D%0Aset-cookie: stolen" in losses[1]
    assert "caf%C3%A9" in losses[1]


@pytest.mark.parametrize("path", ["messages", "responses"])
def test_many_long_names_do_not_make_a_long_header(server: Flooded, path: str) -> None:
    """The header has at most two KiB; the run has all losses."""
    names = [f"field_{at}_{'x' * 120}" for at in range(500)]
    told = floods.posted(server, across(path, False, **dict.fromkeys(names, 1)), f"/v1/{path}")
    assert told.status == 200
    assert len(told.head) < 3000
    assert re.search(r"\.\.\. and \d+ more(?:\r|$)", told.head)
    run_id = re.search("x-polyvox-run: (.*)\r\n", told.head)
    assert run_id
    run = until(lambda: run_of(server, run_id[1]), "the run has no losses")
    assert set(names) <= set(run["losses"])


def run_of(server: Flooded, run_id: str) -> dict[str, list[str]] | None:
    answer = httpx.get(
        f"{server.base_url}/api/runs/{run_id}", headers={"x-api-key": server.key}, trust_env=False
    )
    document: dict[str, list[str]] = answer.json()
    return document if document.get("losses") else None


def test_no_client_header_adds_one_upstream(server: Flooded) -> None:
    """HTTP allows these bytes in a value, but another server may interpret them differently."""
    seen: list[bytes] = []

    def answer(connection: socket.socket, head: bytes) -> None:
        seen.append(head)
        connection.sendall(floods.STREAM_HEAD + floods.delta("ok") + floods.STREAM_END)

    body = json.dumps(floods.question("endless:m")).encode()
    head = floods.head(server, len(body)).removesuffix(b"\r\n")
    with floods.provider(server, answer):
        told = floods.sent(server, [head, b"openai-beta: a\xe5\x98\x8a\t\x85b\r\n\r\n", body])
    assert told.status == 200
    value = re.search(rb"(?mi)^openai-beta: (.*)\r$", seen[0])
    assert value
    assert VISIBLE.fullmatch(value[1].decode("ascii"))


@pytest.mark.parametrize("wait", ["nan", "1e999", "-5", "9" * 400])
def test_a_providers_retry_after_is_taken_with_care(server: Flooded, wait: str) -> None:
    """The client gets the provider's status and a plausible retry-after."""

    def answer(connection: socket.socket, _head: bytes) -> None:
        head = f"HTTP/1.1 429 Slow\r\nretry-after: {wait}\r\ncontent-length: 2\r\n\r\n"
        connection.sendall(head.encode() + b"{}")

    with floods.provider(server, answer):
        told = floods.posted(server, json.dumps(floods.question("endless:m")).encode())
    assert told.status == 429
    retry = re.search(r"\nretry-after: (\d+)(?:\r|$)", told.head)
    assert retry
    assert 1 <= int(retry[1]) <= 86_400


# -- HTTP ----------------------------------------------------------------------------------------

REQUESTS = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50 + b"\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/3.7": b"GET /healthz HTTP/3.7\r\n\r\n",
    "connect": b"CONNECT example.com:443 HTTP/1.1\r\nhost: a\r\n\r\n",
    "connect to a path": b"CONNECT /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
    "options of all": b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    "options": b"OPTIONS /v1/messages HTTP/1.1\r\nhost: a\r\n\r\n",
    "trace": b"TRACE /v1/messages HTTP/1.1\r\nhost: a\r\n\r\n",
    "an unknown method": b"FROBNICATE / HTTP/1.1\r\nhost: a\r\n\r\n",
    "absolute": b"GET http://elsewhere.test/healthz HTTP/1.1\r\nhost: a\r\n\r\n",
    "absolute with a bad port": b"GET http://a:99999999/healthz HTTP/1.1\r\nhost: a\r\n\r\n",
    "two slashes": b"GET //healthz HTTP/1.1\r\nhost: a\r\n\r\n",
    "percent garbage": b"GET /v1/models/%zz%%%f HTTP/1.1\r\nhost: a\r\n\r\n",
    "percent NUL": b"GET /v1/models/%00%0d%0aa HTTP/1.1\r\nhost: a\r\nx-api-key: KEY\r\n\r\n",
    "percent bytes": b"GET /v1/models/%ff%fe HTTP/1.1\r\nhost: a\r\nx-api-key: KEY\r\n\r\n",
    "raw bytes": b"GET /v1/models/\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
    "dots": b"GET /../../../../etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",
    "an empty path": b"GET  HTTP/1.1\r\nhost: a\r\n\r\n",
    "a bad query": b"GET /v1/models?limit=%ff%00 HTTP/1.1\r\nhost: a\r\nx-api-key: KEY\r\n\r\n",
    "NUL in a value": b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
    "a folded value": b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n",
    "a bare CR": b"GET /healthz HTTP/1.1\r\nhost: a\rx: b\r\n\r\n",
    "no name": b"GET /healthz HTTP/1.1\r\n: a\r\n\r\n",
    "another upgrade": (
        b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    ),
    "another upgrade with a body": (
        b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
        b"x-api-key: KEY\r\ncontent-length: 2\r\n\r\n{}"
    ),
    "an upgrade elsewhere": (
        b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ),
    "a bad handshake": (
        b"GET /v1/responses HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 99\r\nsec-websocket-key: ?\r\n\r\n"
    ),
    "a posted handshake": (
        b"POST /v1/responses HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"content-length: 2\r\n\r\n{}"
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_an_odd_request_is_answered_or_refused(server: Flooded, name: str) -> None:
    request = REQUESTS[name].replace(b"KEY", server.key.encode())
    with server.connect() as connection:
        connection.sendall(request)
        told = floods.told(connection)
    assert 200 <= told.status < 500, told


LENGTHS = [
    *("abc", "-1", "+5", "1_0", "0x10", "1e3", "5.0", "²", "٣", "", " ", "5, 5", "5 5"),
    *("9" * 30, "18446744073709551616", "9223372036854775808"),
]


@pytest.mark.parametrize("length", LENGTHS)
def test_an_odd_content_length_is_refused(server: Flooded, length: str) -> None:
    head = floods.head(server, 0).replace(b"length: 0", b"length: " + length.encode())
    with server.connect() as connection:
        connection.sendall(head + b'{"a":')
        told = floods.told(connection)
    assert 400 <= told.status < 500, told


CODINGS = ["gzip", "identity", "chunked, chunked", "chunked, gzip", "xchunked", "CHUNKED ", "\x0b"]


@pytest.mark.parametrize("coding", CODINGS)
def test_an_odd_transfer_encoding_is_refused(server: Flooded, coding: str) -> None:
    head = floods.head(server, None).replace(b"chunked", coding.encode())
    with server.connect() as connection:
        connection.sendall(head + b"2\r\n{}\r\n0\r\n\r\n")
        told = floods.told(connection)
    assert 400 <= told.status < 500, told


def test_length_and_chunks_together_are_refused(server: Flooded) -> None:
    """Two servers in a row could interpret it as two different requests."""
    head = floods.head(server, 5).removesuffix(b"\r\n") + b"transfer-encoding: chunked\r\n\r\n"
    assert floods.sent(server, [head, b"0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n"]).status == 400


@pytest.mark.parametrize("size", [b"-1", b"zz", b"ffffffffffffffffff", b"", b"0x5"])
def test_an_odd_chunk_is_refused(server: Flooded, size: bytes) -> None:
    told = floods.sent(server, [floods.head(server, None), size + b"\r\nhello\r\n0\r\n\r\n"])
    assert 400 <= told.status < 500


def test_pipelined_requests_are_answered_in_turn(server: Flooded) -> None:
    one = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(one * 200)
        received = b""
        while received.count(b"HTTP/1.1 200") < 200:
            chunk = connection.recv(65536)
            assert chunk
            received += chunk


def test_garbage_behind_a_request_does_not_change_its_answer(server: Flooded) -> None:
    body = json.dumps(floods.question("other:main-n20")).encode()
    told = floods.sent(server, [floods.head(server, len(body)) + body + b"\r\n"])
    assert told.status == 200


def test_a_refused_upload_still_reads_its_answer(server: Flooded) -> None:
    """The connection is not closed while the client still sends its unwanted body."""
    told = floods.posted(server, b" " * (20 * MIB))
    assert told.status == 413
    assert "8 MiB" in told.message


# -- Leaving -------------------------------------------------------------------------------------

UNFINISHED = {
    "in the head": b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-",
    "in the body": b'{"model":',
    "in a chunk": b"ffff\r\n{",
}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "path", ["chat/completions", "messages", "responses", "messages/count_tokens", "conversations"]
)
@pytest.mark.parametrize("where", UNFINISHED)
def test_an_aborted_upload_is_no_defect(
    server: Flooded, where: str, path: str, reset: bool
) -> None:
    """The fixture looks for tracebacks."""
    length = None if where == "in a chunk" else 5000
    head = b"" if where == "in the head" else floods.head(server, length, f"/v1/{path}")
    with server.connect() as connection:
        connection.sendall(head + UNFINISHED[where])
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
def test_a_client_that_has_said_all_gets_its_answer(
    server: Flooded, path: str, stream: bool
) -> None:
    """It closes its sending side after the request, and waits."""
    body = across(path, stream, model="other:main-ttft1500-n20")
    with server.connect() as connection:
        connection.sendall(floods.head(server, len(body), f"/v1/{path}") + body)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    while received.startswith(b"HTTP/1.1 100 "):
        received = received.partition(b"\r\n\r\n")[2]
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"simulated" in received


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_client_that_closes_at_once_ends_its_run(server: Flooded, stream: bool) -> None:
    """It looks like a half-closed client until something is written to it."""
    arrived = []

    def answer(connection: socket.socket, _head: bytes) -> None:
        arrived.append(time.monotonic())
        connection.recv(1)
        raise ConnectionResetError

    body = json.dumps(floods.question("endless:m", stream=stream)).encode()
    with floods.provider(server, answer) as closed:
        with server.connect() as connection:
            connection.sendall(floods.head(server, len(body)) + body)
            until(lambda: arrived, "the provider was not asked")
        assert closed.wait(10), "the provider is still asked"
