"""A client that sends whatever bytes it is given, and reads the answer as HTTP/1.1."""

import http.client
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

ANSWER_LIMIT_S = 30.0
"""A request without a whole answer after this long counts as a hang."""

LARGEST_ANSWER = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request before framing; nothing in it has to be valid."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    def encoded(self) -> bytes:
        """Return the bytes on the wire. ``content-length`` is added unless ``headers`` have one."""
        lines = [b"%s %s HTTP/1.1" % (self.method, self.target), b"connection: close"]
        lines += [b"%s: %s" % header for header in self.headers]
        if not any(name.lower() == b"content-length" for name, _ in self.headers):
            lines.append(b"content-length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """``status`` is None where the server closed the connection without an answer."""

    status: int | None
    body: bytes = b""


class Hang(AssertionError):
    """The server neither answered nor closed the connection in time."""


def send(base_url: str, request: RawRequest) -> RawAnswer:
    """Send ``request`` on a connection of its own. Raises Hang."""
    parts = urlsplit(base_url)
    try:
        with socket.create_connection((parts.hostname, parts.port), ANSWER_LIMIT_S) as connection:
            return _exchange(connection, request)
    except TimeoutError:
        raise Hang(f"{request!r}: no whole answer within {ANSWER_LIMIT_S:g} s") from None


def _exchange(connection: socket.socket, request: RawRequest) -> RawAnswer:
    try:
        connection.sendall(request.encoded())
        answer = http.client.HTTPResponse(connection, method=request.method.decode("latin-1"))
        answer.begin()
        return RawAnswer(answer.status, answer.read(LARGEST_ANSWER))
    except (http.client.HTTPException, ConnectionError):
        return RawAnswer(None)
