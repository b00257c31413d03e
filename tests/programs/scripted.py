"""A provider that sends scripted bodies; the model's name selects the script."""

import json
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

PATHS = {"chat/completions": "chat", "responses": "responses", "messages": "messages"}


@dataclass(frozen=True, slots=True)
class Script:
    """A body with status 200, and what the connection does after it.

    ``end`` ends the body properly. The others announce a chunked body that is never terminated:
    ``break`` closes the socket, ``stay`` leaves it open.
    """

    body: bytes
    then: Literal["end", "break", "stay"] = "end"
    content_type: str = "text/event-stream"


@dataclass
class Scripted:
    """The running provider. ``requests`` are the bodies it got, by protocol and model."""

    url: str = ""
    scripts: dict[tuple[str, str], list[Script]] = field(default_factory=dict)
    requests: dict[tuple[str, str], list[Any]] = field(default_factory=lambda: defaultdict(list))
    closing: threading.Event = field(default_factory=threading.Event)

    def play(self, protocol: str, model: str, *scripts: Script) -> None:
        """Answer requests for ``model`` with ``scripts`` in turn, then with the last one."""
        self.scripts[protocol, model] = list(scripts)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_POST(self) -> None:
        scripted = self.server.scripted
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        body = json.loads(text)
        key = PATHS[self.path.removeprefix("/v1/")], str(body["model"])
        scripted.requests[key].append(text)
        scripts = scripted.scripts[key]
        script = scripts[min(len(scripted.requests[key]), len(scripts)) - 1]
        self.send_response(200)
        self.send_header("content-type", script.content_type)
        if script.then == "end":
            self.send_header("content-length", str(len(script.body)))
            self.end_headers()
            self.wfile.write(script.body)
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(script.body), script.body))
        self.close_connection = True
        if script.then == "stay":
            scripted.closing.wait()
        else:
            self.connection.shutdown(socket.SHUT_WR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep the test's output clean."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    scripted: Scripted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect during an answer, which is expected here."""


@contextmanager
def scripted_provider() -> Iterator[Scripted]:
    """Serve the provider on a port of its own."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.scripted = Scripted(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server.scripted
        server.scripted.closing.set()
        server.shutdown()
        thread.join()
