"""A client that sends or requests too much is refused, and other clients' streams continue.

No absolute times: a gap under attack is compared with earlier gaps of the same stream. ``make
attack`` prints the figures.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.attack import floods
from tests.attack.flooded import Disturbance, Flooded, disturbed, flooded
from tests.attack.floods import MIB, Told
from tests.programs.running import until

MOST_RATIO = 10
"""How many undisturbed gaps (of at least 50 ms) a gap under attack may last; it was 70 before."""

MOST_RATIO_LARGE = 30

PATHS = ("chat/completions", "messages", "responses")

SETTINGS = """
read_timeout_s = 2
write_timeout_s = 3
max_requests_per_key = 40
max_connections_per_address = 100
max_answer_mib = 8
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flooded]:
    with flooded(tmp_path_factory.mktemp("flooded"), SETTINGS) as running:
        yield running
        printed = running.child.output.read_text("utf-8")
        assert "Traceback" not in printed


def unharmed(
    server: Flooded, attack: Callable[[Flooded], object], most_ratio: float = MOST_RATIO
) -> Disturbance:
    """Attack; assert that the neighbour's gaps stay small and the server answers as before."""
    found = disturbed(server, attack)
    assert found.ratio < most_ratio, found
    assert floods.posted(server, json.dumps(floods.question("other:main-n20")).encode()).status
    return found


HEADS: dict[str, tuple[Callable[[Flooded, int], Told], int, str]] = {
    "a huge header": (floods.one_huge_header, 431, "at most 128"),
    "many headers": (lambda s, _: floods.many_headers(s, 200_000), 431, "at most 128"),
    "a long path": (floods.a_long_path, 414, "longer than 16 KiB"),
    "many trailers": (floods.many_trailers, 431, "at most 128"),
    "a long trailer": (floods.a_long_trailer, 431, "64 KiB"),
    "a long chunk extension": (floods.a_long_chunk_extension, 431, "64 KiB"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_without_end_is_refused_while_it_comes_in(server: Flooded, name: str) -> None:
    attack, status, sentence = HEADS[name]
    found = unharmed(server, lambda s: attack(s, 30 * MIB))
    assert isinstance(found.answer, Told)
    assert found.answer.status == status
    assert sentence in found.answer.message
    assert "connection: close" in found.answer.head
    assert found.peak_mib < found.before_mib + 20


def test_a_websocket_handshake_has_the_same_limits(server: Flooded) -> None:
    head = (
        b"GET /v1/responses HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
    assert floods.sent(server, [head, b"x-a: b\r\n" * 500, b"\r\n"]).status == 431


def closes_soon(connection: socket.socket) -> bytes:
    """Return the bytes received before the server closes."""
    received = b""
    with suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "dripping"])
def test_a_head_that_does_not_come_ends_the_connection(server: Flooded, drip: bool) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-slow: ")
        connection.settimeout(0.2 if drip else 20)
        received = b""
        while drip and not received:
            try:
                connection.sendall(b"a")
                received = connection.recv(65536)
            except TimeoutError:
                continue
        received += closes_soon(connection)
    assert received.startswith(b"HTTP/1.1 408 ")
    document = json.loads(received.partition(b"\r\n\r\n")[2])
    assert document["type"] == "error", "it speaks the path's protocol"
    assert "did not arrive within 2 s" in document["error"]["message"]


def test_a_connection_without_a_request_is_closed(server: Flooded) -> None:
    with server.connect() as connection:
        assert closes_soon(connection) == b""


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_does_not_come_is_refused(server: Flooded, path: str) -> None:
    told = floods.sent(server, [floods.head(server, 5000, f"/v1/{path}"), b'{"model":'])
    assert told.status == 408
    assert "stopped arriving" in told.message


def test_a_dripping_body_is_refused(server: Flooded) -> None:
    with server.connect() as connection:
        connection.sendall(floods.head(server, 1_000_000))
        connection.settimeout(0.2)
        received = b""
        while not received:
            try:
                connection.sendall(b" ")
                received = connection.recv(65536)
            except TimeoutError:
                continue
    assert received.startswith(b"HTTP/1.1 408 ")


def test_half_open_connections_go_away(server: Flooded) -> None:
    """Connections above the limit for an address are refused, the others time out."""
    connections = [server.connect() for _ in range(90)]
    for connection in connections:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nx-")
    for connection in connections:
        assert closes_soon(connection).startswith(b"HTTP/1.1 408 ")
        connection.close()


def test_connections_of_one_address_are_bounded(server: Flooded) -> None:
    idle = [server.connect() for _ in range(100)]
    try:
        refused = floods.sent(server, [b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"])
        assert refused.status == 429
        assert "max_connections_per_address" in refused.message
        assert "retry-after" in refused.head
    finally:
        for connection in idle:
            connection.close()
    asked = [b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"]
    until(lambda: floods.sent(server, asked).status == 200, "the server goes on refusing")


def test_requests_of_one_key_are_bounded(server: Flooded) -> None:
    body = json.dumps(floods.question("other:main-stall1-idmany", stream=True)).encode()
    asking = [server.connect() for _ in range(40)]
    try:
        for connection in asking:
            connection.sendall(floods.head(server, len(body)) + body)
            assert connection.recv(12).startswith(b"HTTP/1.1 200")
        for path in PATHS:
            refused = floods.posted(server, body, f"/v1/{path}")
            assert refused.status == 429
            assert "max_requests_per_key" in refused.message
            assert "retry-after: 1" in refused.head
    finally:
        for connection in asking:
            connection.close()
    small = json.dumps(floods.question("other:main-n20")).encode()
    until(lambda: floods.posted(server, small).status == 200, "the key is still refused")


@pytest.mark.parametrize("path", PATHS)
def test_a_million_messages_are_refused_before_they_are_parsed(server: Flooded, path: str) -> None:
    found = unharmed(server, lambda s: floods.many_messages(s, path=path))
    assert isinstance(found.answer, Told)
    assert found.answer.status == 413
    assert "300000 JSON values" in found.answer.message
    assert found.peak_mib < found.before_mib + 200


def test_more_messages_than_a_conversation_may_have_are_refused(server: Flooded) -> None:
    refused = floods.many_messages(server, 20_001)
    assert refused.status == 413
    assert "at most 20000" in refused.message


@pytest.mark.parametrize("attack", [floods.many_values, floods.many_objects])
def test_millions_of_values_are_refused(server: Flooded, attack: Callable[[Flooded], Told]) -> None:
    found = unharmed(server, attack)
    assert isinstance(found.answer, Told)
    assert found.answer.status == 413


@pytest.mark.parametrize(
    "attack",
    [floods.a_large_text, floods.a_large_text_of_escapes, floods.the_most_messages],
)
def test_the_largest_requests_hold_nobody_up(
    server: Flooded, attack: Callable[[Flooded], Told]
) -> None:
    # The parser holds the GIL for its whole call, which takes much longer on a busy machine.
    found = unharmed(server, attack, MOST_RATIO_LARGE)
    assert isinstance(found.answer, Told)
    assert found.answer.status == 200


@pytest.mark.parametrize("path", PATHS)
def test_the_most_parts_hold_nobody_up(server: Flooded, path: str) -> None:
    found = unharmed(server, lambda s: floods.many_parts(s, path))
    assert isinstance(found.answer, Told)
    assert found.answer.status == 200


def test_commas_in_a_text_are_not_values(server: Flooded) -> None:
    assert floods.a_table_in_a_text(server).status == 200


def test_large_requests_at_once_are_bounded_in_memory(server: Flooded) -> None:
    """Eight bodies of the maximum size exceed what one key may use."""
    statuses = floods.large_texts_at_once(server)
    assert statuses.count(200) >= 1
    assert statuses.count(503) >= 1
    body = json.dumps(floods.question("other:main-n20")).encode()
    assert floods.posted(server, body).status == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_without_end_is_cut_off(server: Flooded, stream: bool) -> None:
    with floods.provider(server, floods.long_answer(300 * MIB)) as closed:
        asked = json.dumps(floods.question("endless:m", stream=stream)).encode()
        found = unharmed(server, lambda s: floods.posted(s, asked))
        assert closed.wait(20), "the provider's stream is still open"
    assert isinstance(found.answer, Told)
    assert found.answer.status == (200 if stream else 502)
    assert b"more than 8 MiB" in found.answer.body
    assert found.peak_mib < found.before_mib + 150


def test_an_event_without_end_is_cut_off(server: Flooded) -> None:
    with floods.provider(server, floods.a_huge_frame(100 * MIB)) as closed:
        told = floods.posted(server, json.dumps(floods.question("endless:m")).encode())
        assert closed.wait(20), "the provider's stream is still open"
    assert told.status == 502
    assert "longer than 8 MiB" in told.message


def test_slow_readers_do_not_fill_the_memory(server: Flooded) -> None:
    found = unharmed(server, lambda s: floods.slow_readers(s, 10, 100_000, 6.0))
    assert found.peak_mib < found.before_mib + 150


def test_a_reader_that_takes_nothing_is_let_go(server: Flooded) -> None:
    """Its run ends, and with it the provider's stream."""
    with floods.provider(server, floods.endless_answer()) as closed:
        body = json.dumps(floods.question("endless:m", stream=True)).encode()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(server.address)
            connection.sendall(floods.head(server, len(body)) + body)
            assert closed.wait(60), "the provider's stream is still open"


def test_a_slow_reader_gets_the_whole_answer_in_the_end(server: Flooded) -> None:
    """What was dropped while it lagged behind is completed from the Reply."""
    text = "".join(f"{at} " for at in range(200_000))
    with floods.provider(server, floods.answer_of(text)):
        body = json.dumps(floods.question("endless:m", stream=True)).encode()
        with server.connect() as connection:
            connection.sendall(floods.head(server, len(body)) + body)
            time.sleep(1.0)  # the lag itself, not a wait for something
            told = floods.told(connection)
    frames = [line[6:] for line in told.body.split(b"\n") if line.startswith(b"data: {")]
    said = [json.loads(frame)["choices"] for frame in frames]
    assert "".join(c[0]["delta"].get("content") or "" for c in said if c) == text


def test_a_slow_reader_of_several_choices_does_not_fill_the_memory(server: Flooded) -> None:
    found = unharmed(server, lambda s: floods.slow_readers(s, 2, 100_000, 6.0, n=8))
    assert found.peak_mib < found.before_mib + 200
