"""A provider that remembers its requests and answers as a test says."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    headers: Mapping[str, str]
    body: Any


Answer = Callable[[Received], tuple[int, Any]]
"""Returns the status and the answer: a list of a stream's events, or a document."""


@dataclass(slots=True)
class RecordingProvider:
    url: str
    answer: Answer
    received: list[Received] = field(default_factory=list)


def sse(events: list[Any]) -> bytes:
    """Return events as server-sent events, named by their type."""
    frames = [
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
        if "type" in event
        else f"data: {json.dumps(event)}\n\n"
        for event in events
    ]
    return "".join(frames).encode()


@contextmanager
def recording_provider(answer: Answer) -> Iterator[RecordingProvider]:
    """Serve until the context is left; ``answer`` may be replaced meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            received = Received(self.path, dict(self.headers), body)
            provider.received.append(received)
            status, said = provider.answer(received)
            data = sse(said) if isinstance(said, list) else json.dumps(said).encode()
            kind = "text/event-stream" if isinstance(said, list) else "application/json"
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = RecordingProvider(f"http://127.0.0.1:{server.server_address[1]}/v1", answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def responses_answer(words: str = "hello", /, **said: Any) -> list[Any]:
    """Return the stream of a Responses provider; ``said`` are members of its response object."""
    head = {"id": "resp_p", "object": "response", "created_at": 1, "model": "m", **said}
    part = {"type": "output_text", "text": words, "annotations": [], "logprobs": []}
    item: dict[str, Any] = {
        "id": "msg_p",
        "type": "message",
        "role": "assistant",
        "status": "completed",
    }
    item |= {"content": [part]}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    begun = {**head, "status": "in_progress", "output": []}
    done = {**head, "status": "completed", "output": [item], "usage": usage}
    return [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    ]


def messages_answer(text: str = "hello", **usage: Any) -> list[Any]:
    """Return the stream of a Messages provider; ``usage`` are members of its usage."""
    counts = {"input_tokens": 1, "output_tokens": 1, **usage}
    message: dict[str, Any] = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
    }
    return [
        {"type": "message_start", "message": {**message, "usage": counts}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]


def chat_answer(text: str = "hello") -> list[Any]:
    """Return the stream of a Chat provider."""
    chunk: dict[str, Any] = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
    }
    return [
        {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]


ANSWERS: Mapping[str, Callable[..., list[Any]]] = {
    "chat": chat_answer,
    "responses": responses_answer,
    "messages": messages_answer,
}
