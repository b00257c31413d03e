"""A provider that fails in a chosen way: the first part of the path says how."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "a-key-of-the-provider"

MODELS = {"object": "list", "data": [{"id": "m", "object": "model"}]}

LONG = {
    "error": {
        "message": "The input (1492905 tokens) is longer than the model's context length "
        "(1048576 tokens).",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    }
}


def _said(message: str, **members: str) -> dict[str, Any]:
    return {"error": {"message": message, **members}}


ANSWERS: dict[str, tuple[int, str | dict[str, Any], dict[str, str]]] = {
    "bare": (404, {"detail": "Not Found"}, {}),
    "text": (404, "404 page not found\n", {"content-type": "text/plain"}),
    "page": (404, "<html><title>Oops</title></html>", {"content-type": "text/html"}),
    "start": (200, "<!doctype html><html>Welcome</html>", {"content-type": "text/html"}),
    "get": (405, {"detail": "Method Not Allowed"}, {}),
    "moved": (
        308,
        "",
        {"location": "https://me:pw-12345678@elsewhere.test/v1/messages?k=pw-12345678"},
    ),
    "key": (401, _said(f"Invalid API key: {KEY}", type="invalid_request_error"), {}),
    "gemini": (400, _said("API key not valid. Please pass a valid API key."), {}),
    "model": (404, _said("The model `m` does not exist or you do not have access to it."), {}),
    "deepseek": (400, _said("Model Not Exist", type="invalid_request_error"), {}),
    "long": (400, LONG, {}),
    "long413": (413, LONG, {}),
    "longevent": (
        200,
        f"event: error\ndata: {json.dumps({'type': 'error', **LONG})}\n\n",
        {"content-type": "text/event-stream"},
    ),
    "long500": (500, LONG, {}),
    "bad": (400, _said("Unknown field: 'store'.", type="invalid_request_error"), {}),
    "rate": (429, _said("Slow down.", type="rate_limit_error"), {"retry-after": "30"}),
    "later": (429, _said("Slow down more.", type="rate_limit_error"), {"retry-after": "90"}),
    "poor": (402, _said("Insufficient Balance"), {}),
    "denied": (403, _said("You may not use this model."), {}),
    "down": (503, _said("Busy."), {}),
}
"""By the first part of the path: status, body and headers of the answer to every POST."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        kind = self.path.split("/")[1]
        if kind == "bare" and self.path.startswith("/bare/v1/"):
            self._send(400, _said("model is required"), {})
        else:
            self._send(*ANSWERS[kind])

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        if not self.path.endswith("/v1/models"):
            self._send(*ANSWERS.get(kind, ANSWERS["bare"]))
        elif kind == "key" or KEY not in (
            self.headers.get("x-api-key"),
            self.headers.get("authorization", "").removeprefix("Bearer "),
        ):
            self._send(*ANSWERS["key"])
        elif kind in ("page", "start", "moved", "down"):
            self._send(*ANSWERS[kind])
        else:
            self._send(200, MODELS, {})

    def _send(self, status: int, body: str | dict[str, Any], headers: dict[str, str]) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: Any, **more: Any) -> None:
        """Write nothing."""


@contextmanager
def failing_provider() -> Iterator[str]:
    """Serve until the context is left; yield the address without a path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="failing provider")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
