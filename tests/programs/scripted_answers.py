"""A provider that answers as it is told to, and remembers what it was sent."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson

from polyvox.workflows.conversation import Json

Script = Callable[[Json], list[Json]]
"""Returns the events of the answer to a request's body."""


@dataclass
class Scripted:
    """The provider's base URL, and the bodies of the requests so far."""

    url: str
    bodies: list[Json] = field(default_factory=list)


@contextmanager
def scripted(script: Script) -> Iterator[Scripted]:
    """Run a provider that streams what ``script`` returns for each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
            provider.bodies.append(body)
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for event in script(body):
                name = f"event: {event['type']}\n" if "type" in event else ""
                self.wfile.write(f"{name}data: {orjson.dumps(event).decode()}\n\n".encode())
            if "chat" in self.path:
                self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Scripted(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def chat_answer(*, text: str = "", calls: list[Json] | None = None, **delta: Json) -> list[Json]:
    """Return the chunks of a Chat answer."""
    said = {"role": "assistant", "content": text or None, **delta}
    if calls:
        said["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    ended = "tool_calls" if calls else "stop"
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    return [
        {**chunk, "choices": [{"index": 0, "delta": said, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": ended}]},
        {**chunk, "choices": [], "usage": usage},
    ]


def messages_answer(*blocks: Json) -> list[Json]:
    """Return the events of a Messages answer; a call is a block with its input."""
    usage = {"input_tokens": 5, "output_tokens": 5}
    called = any(block["type"] == "tool_use" for block in blocks)
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    events: list[Json] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}}
    ]
    for index, block in enumerate(blocks):
        grown, delta = {**block, "text": ""}, {"type": "text_delta", "text": block.get("text")}
        if block["type"] == "tool_use":
            grown = {**block, "input": {}}
            written = orjson.dumps(block["input"]).decode()
            delta = {"type": "input_json_delta", "partial_json": written}
        events += [
            {"type": "content_block_start", "index": index, "content_block": grown},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    ending = {"stop_reason": "tool_use" if called else "end_turn", "stop_sequence": None}
    return [
        *events,
        {"type": "message_delta", "delta": ending, "usage": usage},
        {"type": "message_stop"},
    ]
