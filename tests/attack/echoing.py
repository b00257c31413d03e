"""A provider that repeats its request, including the headers, in every kind of answer."""

import base64
import html
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

Frames = list[tuple[str, Any]]
"""Events of a stream: the name and the document, or a text that is sent as it is."""

STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)
STREAMED = ("said", "pieces", "called", "thought", "named", "broken", "cut", "garbled", "strange")
WHOLE = ("document", "failed", "page", "moved", "noise", "header")
MODES = (*(f"status{s}" for s in STATUSES), *(f"plain{s}" for s in STATUSES), *STREAMED, *WHOLE)

PIECE = 5
LONG_WAIT = "100"
"""Seconds in ``retry-after``: too long to wait for, so that no attempt is retried."""


def told(headers: Mapping[str, str]) -> str:
    """Return the request's headers in all encodings in which requests are usually printed."""
    raw = "\n".join(f"{name}: {value}" for name, value in headers.items())
    values = "\n".join(headers.values())
    return "\n".join(
        [
            raw,
            repr(dict(headers)),
            json.dumps(dict(headers)),
            json.dumps(json.dumps(dict(headers))),
            html.escape(raw),
            quote(raw, safe=""),
            raw.encode().hex(),
            raw.encode().hex().upper(),
            *(
                encode((before + text).encode()).decode()
                for encode in (base64.b64encode, base64.urlsafe_b64encode)
                for before in ("", "u", "u:")
                for text in (raw, *values.split("\n"))
            ),
        ]
    )


def _chat(mode: str, echo: str) -> Frames:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> tuple[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        named = echo if mode == "named" else "m"
        document: dict[str, Any] = {"id": named, "object": "chat.completion.chunk", "created": 1}
        document |= {"model": named, "system_fingerprint": named, "choices": [choice]}
        if finish:
            document["usage"] = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return "", document

    begun = chunk({"role": "assistant", "content": ""})
    ended = [chunk({}, "stop"), ("", "[DONE]")]
    call = {"index": 0, "id": "c", "type": "function"}
    match mode:
        case "pieces":
            return [begun, *(chunk({"content": piece}) for piece in _pieces(echo)), *ended]
        case "called":
            function = {"name": "look", "arguments": json.dumps({"at": echo})}
            return [begun, chunk({"tool_calls": [{**call, "function": function}]}), *ended]
        case "thought":
            return [begun, chunk({"reasoning_content": echo}), chunk({"content": "ok"}), *ended]
        case "broken":
            error = {"error": {"message": echo, "type": echo, "code": echo}}
            return [begun, chunk({"content": "well"}), ("", error)]
        case _:
            return [begun, chunk({"content": echo}), *ended]


def _messages(mode: str, echo: str) -> Frames:
    named = echo if mode == "named" else "m"
    usage = {"input_tokens": 1, "output_tokens": 1}
    message: dict[str, Any] = {"id": named, "type": "message", "role": "assistant"}
    message |= {"model": named, "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    begun = ("message_start", {"message": message})

    def block(opened: dict[str, Any], *deltas: dict[str, Any]) -> Frames:
        return [
            ("content_block_start", {"index": 0, "content_block": opened}),
            *(("content_block_delta", {"index": 0, "delta": delta}) for delta in deltas),
            ("content_block_stop", {"index": 0}),
        ]

    def text(*pieces: str) -> Frames:
        deltas = ({"type": "text_delta", "text": piece} for piece in pieces)
        return block({"type": "text", "text": ""}, *deltas)

    ended: Frames = [
        ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": usage}),
        ("message_stop", {}),
    ]
    match mode:
        case "pieces":
            return [begun, *text(*_pieces(echo)), *ended]
        case "called":
            arguments = {"type": "input_json_delta", "partial_json": json.dumps({"at": echo})}
            tool = {"type": "tool_use", "id": "c", "name": "look", "input": {}}
            return [begun, *block(tool, arguments), *ended]
        case "thought":
            deltas = (
                {"type": "thinking_delta", "thinking": echo},
                {"type": "signature_delta", "signature": echo},
            )
            return [begun, *block({"type": "thinking", "thinking": ""}, *deltas), *ended]
        case "broken":
            return [begun, *text("well"), ("error", {"error": {"type": echo, "message": echo}})]
        case _:
            return [begun, *text(echo), *ended]


def _responses(mode: str, echo: str) -> Frames:
    named = echo if mode == "named" else "m"
    response = {"id": named, "object": "response", "model": named, "output": []}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    begun = ("response.created", {"response": {**response, "status": "in_progress"}})
    at = {"output_index": 0, "item_id": "i"}

    def item(opened: dict[str, Any], inside: Frames, closed: dict[str, Any]) -> Frames:
        done = {**response, "status": "completed", "output": [closed], "usage": usage}
        return [
            begun,
            ("response.output_item.added", {**at, "item": opened}),
            *inside,
            ("response.output_item.done", {**at, "item": closed}),
            ("response.completed", {"response": done}),
        ]

    def text(*pieces: str) -> Frames:
        place = {**at, "content_index": 0}
        message = {"id": "i", "type": "message", "role": "assistant"}
        part = {"type": "output_text", "text": "".join(pieces), "annotations": []}
        inside: Frames = [
            ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
            *(("response.output_text.delta", {**place, "delta": piece}) for piece in pieces),
            ("response.output_text.done", {**place, "text": part["text"]}),
            ("response.content_part.done", {**place, "part": part}),
        ]
        opened = {**message, "status": "in_progress", "content": []}
        return item(opened, inside, {**message, "status": "completed", "content": [part]})

    match mode:
        case "pieces":
            return text(*_pieces(echo))
        case "called":
            call = {"id": "i", "type": "function_call", "call_id": "c", "name": "look"}
            arguments = json.dumps({"at": echo})
            delta = ("response.function_call_arguments.delta", {**at, "delta": arguments})
            return item({**call, "arguments": ""}, [delta], {**call, "arguments": arguments})
        case "thought":
            thought = {"id": "i", "type": "reasoning", "encrypted_content": echo}
            summary = [{"type": "summary_text", "text": echo}]
            return item({**thought, "summary": []}, [], {**thought, "summary": summary})
        case "broken":
            error = {"code": echo, "message": echo}
            failed = {**response, "status": "failed", "error": error}
            return [begun, ("response.failed", {"response": failed})]
        case _:
            return text(echo)


_FRAMES: Mapping[str, Callable[[str, str], Frames]] = {
    "chat/completions": _chat,
    "messages": _messages,
    "responses": _responses,
}


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + PIECE] for at in range(0, len(text), PIECE))


def _stream(mode: str, path: str, echo: str) -> bytes:
    frames = _FRAMES[path](mode, echo)
    lines: list[str] = []
    for name, document in frames:
        if isinstance(document, str):
            lines.append(f"data: {document}\n\n")
            continue
        event = f"event: {name}\n" if name else ""
        named = {"type": name, **document} if name else document
        lines.append(f"{event}data: {json.dumps(named)}\n\n")
    one_line = echo.replace("\n", " ")
    match mode:
        case "garbled":
            lines[1:] = [f"data: {{{one_line}\n\n"]
        case "strange":
            lines[1:] = [f'event: {one_line}\ndata: {{"type": {json.dumps(echo)}}}\n\n']
    return "".join(lines).encode()


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        mode = str(body["model"])
        path = self.path.removeprefix("/v1/")
        echo = told(dict(self.headers.items()))
        error = json.dumps(
            {"error": {"message": echo, "type": echo, "code": echo, "param": echo}}
        ).encode()
        one_line = echo.partition("\n")[0] + " " + " ".join(self.headers.values())
        if mode.startswith("status"):
            self._say(int(mode.removeprefix("status")), "application/json", error)
        elif mode.startswith("plain"):
            self._say(int(mode.removeprefix("plain")), "text/plain", echo.encode())
        elif mode == "document" or path not in _FRAMES:
            # This is also the answer of a counting route.
            self._say(200, "application/json", json.dumps({"input_tokens": echo}).encode())
        elif mode == "failed":
            self._say(200, "application/json", error)
        elif mode == "page":
            self._say(200, "text/html", f"<pre>{html.escape(echo)}</pre>".encode())
        elif mode == "moved":
            self._say(307, "text/plain", b"", location=f"http://elsewhere/?{one_line}")
        elif mode == "noise":
            self.wfile.write(echo.encode() + b"\r\n\r\n")
            self.close_connection = True
        elif mode == "header":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-echo: " + one_line.encode() * 100 + b"\r\n\r\n")
            self.close_connection = True
        else:
            stream = _stream(mode, path, echo)
            length = len(stream) + 1000 if mode == "cut" else len(stream)
            self._say(200, "text/event-stream", stream, length=length)
            self.close_connection = mode == "cut"

    def _say(
        self, status: int, kind: str, body: bytes, *, length: int | None = None, location: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.send_header("retry-after", LONG_WAIT)
        for name, value in self.headers.items():
            self.send_header(f"x-echo-{name}", value)
            self.send_header("x-request-id", value)
        if location:
            self.send_header("location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep the test's output clean."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect during an answer, which is expected here."""


@contextmanager
def echoing() -> Iterator[str]:
    """Serve the provider; yield its base URL. The model's name selects how it repeats."""
    with _Server(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()
