"""A Chat Completions server that takes only the plain form, in front of the simulator.

It answers 400 to everything that some real server refuses: fields beyond the plain ones, tools that
are not functions, a second system message, roles that do not alternate.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import orjson

from polyvox.protocols.dialects.dialect import PLAIN_FIELDS

_FUNCTION = {"name", "description", "parameters"}


class StrictServer:
    """Checks each request and passes it on to ``simulator_url``; ``bodies`` are the requests."""

    def __init__(self) -> None:
        self.simulator_url = ""
        self.bodies: list[dict[str, Any]] = []
        self.faults: list[str] = []
        strict = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                body = orjson.loads(raw)
                strict.bodies.append(body)
                fault = fault_of(body)
                if fault is not None:
                    strict.faults.append(fault)
                    error = {"error": {"message": fault, "type": "invalid_request_error"}}
                    self._answer(400, "application/json", orjson.dumps(error))
                    return
                answer = httpx.post(
                    f"{strict.simulator_url}/v1/chat/completions",
                    content=raw,
                    headers={"content-type": "application/json"},
                    timeout=60,
                    trust_env=False,
                )
                self._answer(answer.status_code, answer.headers["content-type"], answer.content)

            def _answer(self, status: int, kind: str, content: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is given
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """The base URL of the provider."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def serve(self) -> None:
        self._server.serve_forever()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def strict_server() -> Iterator[StrictServer]:
    """Serve in a thread until the context is left."""
    server = StrictServer()
    thread = threading.Thread(target=server.serve, name="strict")
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def fault_of(body: dict[str, Any]) -> str | None:
    """Return what is wrong with a request, None if every server takes it."""
    if unknown := body.keys() - PLAIN_FIELDS - {"model", "messages", "stream"}:
        return f"Extra inputs are not permitted: {sorted(unknown)}"
    for tool in body.get("tools", ()):
        if tool["type"] != "function" or tool["function"].keys() - _FUNCTION:
            return f"unknown tool {tool}"
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] != "function":
        return f"unknown tool_choice {choice}"
    return _fault_of_messages(body["messages"])


def _fault_of_messages(messages: list[dict[str, Any]]) -> str | None:
    said = messages[1:] if messages[0]["role"] == "system" else messages
    before = None
    for message in said:
        role = message["role"]
        if role not in ("user", "assistant", "tool"):
            return f"System message must be at the beginning, not {role}"
        if role == before and role != "tool":
            return f"Roles must alternate: two of {role}"
        if role == "tool" and before not in ("assistant", "tool"):
            return "A tool message must follow the calls"
        for call in message.get("tool_calls") or ():
            if call["type"] != "function":
                return f"unknown variant {call['type']}, expected function"
        content = message.get("content")
        if isinstance(content, list) and all(part["type"] == "text" for part in content):
            return "invalid type: sequence, expected a string"
        before = role
    return None
