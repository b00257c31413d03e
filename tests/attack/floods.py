"""Attacks that send or request too much. Each returns the server's answer, if any."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.attack.flooded import Flooded

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as it came; ``status`` is 0 if the server closed without one."""

    status: int
    head: str
    body: bytes

    @property
    def message(self) -> str:
        """The message of the error document."""
        return str(json.loads(self.body)["error"]["message"])


def told(connection: socket.socket) -> Told:
    """Read one whole answer, or the bytes before the connection ends."""
    received = bytearray()
    with suppress(ConnectionError, TimeoutError):
        while chunk := connection.recv(65536):
            received += chunk
            if _is_whole(received):
                break
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.1 (\d{3})", head)
    return Told(int(status[1]) if status else 0, head.decode("latin-1"), body)


def _is_whole(received: bytearray) -> bool:
    end = received.find(b"\r\n\r\n", 0, 65536)
    if end < 0:
        return False
    length = re.search(rb"content-length: (\d+)", received[:end])
    if length:
        return len(received) - end - 4 >= int(length[1])
    return received.endswith(b"\r\n0\r\n\r\n")


def sent(server: Flooded, pieces: Iterable[bytes]) -> Told:
    """Send ``pieces`` as far as the server reads them, and return its answer."""
    with server.connect() as connection:
        with suppress(ConnectionError, TimeoutError):
            for piece in pieces:
                connection.sendall(piece)
        return told(connection)


def head(server: Flooded, length: int | None, path: str = "/v1/chat/completions") -> bytes:
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return (
        f"POST {path} HTTP/1.1\r\nhost: polyvox\r\nauthorization: Bearer {server.key}\r\n"
        f"content-type: application/json\r\n{size}\r\n\r\n"
    ).encode()


def posted(server: Flooded, body: bytes, path: str = "/v1/chat/completions") -> Told:
    view = memoryview(body)
    pieces = (bytes(view[at : at + MIB]) for at in range(0, len(body), MIB))
    return sent(server, (head(server, len(body), path), *pieces))


# -- Heads ---------------------------------------------------------------------------------------


def one_huge_header(server: Flooded, size: int = 100 * MIB) -> Told:
    def pieces() -> Iterator[bytes]:
        yield b"POST /v1/chat/completions HTTP/1.1\r\nhost: polyvox\r\nx-long: "
        for _ in range(size // MIB):
            yield b"a" * MIB

    return sent(server, pieces())


def many_headers(server: Flooded, count: int = 3_000_000) -> Told:
    def pieces() -> Iterator[bytes]:
        yield b"POST /v1/chat/completions HTTP/1.1\r\nhost: polyvox\r\n"
        for _ in range(count // 10_000):
            yield b"x-a: b\r\n" * 10_000

    return sent(server, pieces())


def a_long_path(server: Flooded, size: int = 100 * MIB) -> Told:
    def pieces() -> Iterator[bytes]:
        yield b"GET /"
        for _ in range(size // MIB):
            yield b"a" * MIB

    return sent(server, pieces())


def many_trailers(server: Flooded, size: int = 100 * MIB) -> Told:
    """Endless trailers after a body."""

    def pieces() -> Iterator[bytes]:
        yield head(server, None) + b"1\r\n{\r\n0\r\n"
        for _ in range(size // MIB):
            yield b"x-a: b\r\n" * (MIB // 8)

    return sent(server, pieces())


def a_long_trailer(server: Flooded, size: int = 100 * MIB) -> Told:
    def pieces() -> Iterator[bytes]:
        yield head(server, None) + b"1\r\n{\r\n0\r\nx-long: "
        for _ in range(size // MIB):
            yield b"a" * MIB

    return sent(server, pieces())


def a_long_chunk_extension(server: Flooded, size: int = 100 * MIB) -> Told:
    def pieces() -> Iterator[bytes]:
        yield head(server, None) + b"1;x="
        for _ in range(size // MIB):
            yield b"a" * MIB

    return sent(server, pieces())


def half_open_connections(server: Flooded, count: int = 700) -> int:
    """Return how many of the connections the server still has open after a moment."""
    connections = [server.connect() for _ in range(count)]
    try:
        for connection in connections:
            with suppress(ConnectionError, TimeoutError):
                connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-")
        time.sleep(1.0)
        return sum(_is_open(connection) for connection in connections)
    finally:
        for connection in connections:
            connection.close()


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


# -- Bodies --------------------------------------------------------------------------------------


def question(model: str, **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "Say exactly: ok"}], **more}


def a_large_text(server: Flooded, size: int = 60 * MIB) -> Told:
    text = "All work and no play makes Jack a dull boy. " * (size // 44)
    asked = question("other:main-n20", messages=[{"role": "user", "content": text}])
    return posted(server, json.dumps(asked).encode())


def a_large_text_of_escapes(server: Flooded, size: int = 60 * MIB) -> Told:
    text = '\n"\\' * (size // 6)
    asked = question("other:main-n20", messages=[{"role": "user", "content": text}])
    return posted(server, json.dumps(asked).encode())


def many_messages(server: Flooded, count: int = 1_000_000, path: str = "chat/completions") -> Told:
    one = b'{"role":"user","content":"a"}'
    name = b"input" if path == "responses" else b"messages"
    body = b'{"model":"other:main-n20","max_tokens":9,"' + name + b'":['
    return posted(server, body + b",".join([one] * count) + b"]}", f"/v1/{path}")


def many_values(server: Flooded, size: int = 60 * MIB) -> Told:
    body = b'{"model":"other:main-n20","messages":[],"x":[' + b"1," * (size // 2) + b"1]}"
    return posted(server, body)


def many_objects(server: Flooded, size: int = 60 * MIB) -> Told:
    body = b'{"model":"other:main-n20","messages":[],"x":[' + b"{}," * (size // 3) + b"1]}"
    return posted(server, body)


def many_strings(server: Flooded, size: int = 60 * MIB) -> Told:
    """Not JSON, which shows only at its end: a scanner must not search each quote's partner."""
    return posted(server, b'{"model":"other:main-n20","x":' + b'""' * (size // 2))


def a_table_in_a_text(server: Flooded, size: int = 4 * MIB) -> Told:
    """Not an attack: commas in a text are not values."""
    text = "1,2,3,4,5,6,7\n" * (size // 14)
    asked = question("other:main-n20", messages=[{"role": "user", "content": text}])
    return posted(server, json.dumps(asked).encode())


def the_most_messages(server: Flooded, count: int = 20_000) -> Told:
    return many_messages(server, count)


def many_parts(server: Flooded, path: str = "chat/completions", count: int = 99_000) -> Told:
    """One message of as many parts as there may be values."""
    kind = b"input_text" if path == "responses" else b"text"
    name = b"input" if path == "responses" else b"messages"
    part = b'{"type":"' + kind + b'","text":"a"}'
    body = b'{"model":"other:main-n20","max_tokens":9,"%b":[{"role":"user","content":[' % name
    return posted(server, body + b",".join([part] * count) + b"]}]}", f"/v1/{path}")


def many_tools(server: Flooded, count: int = 50_000) -> Told:
    tools = [
        {"type": "function", "function": {"name": f"t{at}", "parameters": {}}}
        for at in range(count)
    ]
    return posted(server, json.dumps(question("other:main-n20", tools=tools)).encode())


def unknown_fields(server: Flooded, count: int = 250_000) -> Told:
    more = {f"x{at}": str(at) for at in range(count)}
    return posted(server, json.dumps(question("other:main-n20", **more)).encode())


def large_texts_at_once(server: Flooded, count: int = 6) -> list[int]:
    """Return the statuses of several bodies of 60 MB sent at once."""
    with ThreadPoolExecutor(count) as pool:
        sending = [pool.submit(a_large_text, server) for _ in range(count)]
        return [each.result().status for each in sending]


# -- Answers -------------------------------------------------------------------------------------


Answer = Callable[[socket.socket, bytes], None]
"""Writes an answer to a connection after the head of its request was read."""


@contextmanager
def provider(server: Flooded, answer: Answer) -> Iterator[threading.Event]:
    """Act as the provider ``endless``: ``answer`` writes to each connection after its request.

    The event is set once the server has closed a connection before its answer's end.
    """
    closed = threading.Event()
    listener = socket.create_server(("127.0.0.1", server.endless_port))

    def play(connection: socket.socket) -> None:
        with connection:
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            try:
                answer(connection, received)
            except OSError:
                closed.set()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=play, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield closed
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def delta(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {"id": "a", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


LAST = {"index": 0, "delta": {}, "finish_reason": "stop"}
ENDING = {"id": "a", "object": "chat.completion.chunk", "model": "m", "choices": [LAST]}
STREAM_END = b"data: " + json.dumps(ENDING).encode() + b"\n\ndata: [DONE]\n\n"


def long_answer(size: int, piece: int = 8192) -> Answer:
    def answer(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(STREAM_HEAD)
        frame = delta("a" * piece)
        for _ in range(size // piece):
            connection.sendall(frame)
        connection.sendall(STREAM_END)

    return answer


def answer_of(text: str, piece: int = 8) -> Answer:
    def answer(connection: socket.socket, _head: bytes) -> None:
        pieces = [delta(text[at : at + piece]) for at in range(0, len(text), piece)]
        connection.sendall(STREAM_HEAD + b"".join(pieces) + STREAM_END)

    return answer


def endless_answer() -> Answer:
    """Send tokens so slowly that the size limit is not reached soon."""

    def answer(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(STREAM_HEAD)
        while True:
            connection.sendall(delta("token ") * 20)
            time.sleep(0.01)

    return answer


def a_huge_frame(size: int) -> Answer:
    def answer(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(STREAM_HEAD + b"data: ")
        for _ in range(size // MIB):
            connection.sendall(b"a" * MIB)

    return answer


def a_huge_answer(server: Flooded, size: int = 300 * MIB, *, stream: bool = False) -> Told:
    with provider(server, long_answer(size)):
        return posted(server, json.dumps(question("endless:m", stream=stream)).encode())


def a_huge_event(server: Flooded, size: int = 300 * MIB) -> Told:
    with provider(server, a_huge_frame(size)):
        return posted(server, json.dumps(question("endless:m")).encode())


# -- Readers -------------------------------------------------------------------------------------


def slow_readers(
    server: Flooded, count: int = 10, tokens: int = 200_000, seconds: float = 15.0, n: int = 1
) -> None:
    """Request long answers at full speed, and read almost nothing of them."""
    body = json.dumps(question(f"other:main-itl0-n{tokens}", stream=True, n=n)).encode()
    connections = []
    for _ in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(server.address)
        connection.sendall(head(server, len(body)) + body)
        connections.append(connection)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for connection in connections:
            with suppress(OSError):
                connection.recv(64)
        time.sleep(0.1)
    for connection in connections:
        connection.close()
