"""Clients that note exactly what they see: status, error event, cut connection, whole answer."""

import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx
import openai

from tests.crash.answers import CLIENT_TOOL
from tests.crash.cells import Cell

LIMIT_S = 120.0
SDK_RETRIES = 6
POLL_S = 0.1

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
_SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
_CALL_KEYS = ("tool_calls", "tool_use", "function_call")
_ENDED = ("completed", "failed", "incomplete", "cancelled")
_LAST = ("data: [DONE]", '"type":"message_stop"', '"type":"response.completed"')


@dataclass(slots=True)
class Seen:
    """What a client saw.

    ``ending`` is "complete", "accepted" (in background), "error STATUS", "error event", "cut",
    "refused" (no connection) or, while it waits, empty. ``fetched`` is the status of the response
    that was fetched afterwards.
    """

    ending: str = ""
    run_id: str = ""
    text: str = ""
    fetched: str = ""
    sent_at: float = 0.0
    received_at: list[float] = field(default_factory=list)
    ended_at: float = 0.0

    @property
    def summary(self) -> str:
        return f"{self.ending}, then {self.fetched}" if self.fetched else self.ending


class Asker(threading.Thread):
    """One client in a thread of its own; ``seen`` grows while it reads."""

    def __init__(
        self, cell: Cell, base_url: str, key: str, body: dict[str, Any] | None = None
    ) -> None:
        super().__init__(name=f"client {cell.mark}", daemon=True)
        self.cell = cell
        self.body = body or body_of(cell)
        self.seen = Seen()
        self._base_url = base_url
        self._key = key

    def run(self) -> None:
        seen = self.seen
        seen.sent_at = time.time()
        try:
            (self._ask_with_sdk if self.cell.retries else self._ask)()
        except (httpx.ConnectError, openai.APIConnectionError, anthropic.APIConnectionError):
            seen.ending = "refused"
        except httpx.HTTPError:
            seen.ending = "cut"
        seen.ended_at = time.time()

    def _ask(self) -> None:
        cell, seen = self.cell, self.seen
        with httpx.stream(
            "POST",
            self._base_url + PATHS[cell.protocol],
            json=self.body,
            headers={"x-api-key": self._key},
            timeout=LIMIT_S,
            trust_env=False,
        ) as answer:
            seen.run_id = answer.headers.get("x-polyvox-run", "")
            for part in answer.iter_text():
                seen.received_at.append(time.time())
                seen.text += part
        seen.ending = _ending(answer.status_code, seen.text, stream=cell.stream)
        if cell.mode == "background" and seen.ending == "complete":
            seen.ending = "accepted"

    def _ask_with_sdk(self) -> None:
        body = self.body
        library: Any = anthropic if self.cell.protocol == "messages" else openai
        http = library.DefaultHttpxClient(timeout=LIMIT_S, trust_env=False)
        options: dict[str, Any] = {
            "api_key": self._key,
            "max_retries": SDK_RETRIES,
            "http_client": http,
        }
        try:
            answer: Any
            if self.cell.protocol == "messages":
                messages = anthropic.Anthropic(base_url=self._base_url, **options).messages
                answer = messages.with_raw_response.create(**body)
            else:
                chat = openai.OpenAI(base_url=f"{self._base_url}/v1", **options).chat
                answer = chat.completions.with_raw_response.create(**body)
            self.seen.run_id = answer.headers.get("x-polyvox-run", "")
            self.seen.text = answer.text if isinstance(answer.text, str) else answer.text()
            self.seen.ending = "complete"
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            self.seen.ending = f"error {error.status_code}"
            self.seen.text = error.response.text
        finally:
            http.close()
        self.seen.received_at.append(time.time())

    def fetch(self, limit_s: float) -> None:
        """Fetch a Responses answer that the client did not get, as its owner would."""
        seen = self.seen
        known = re.search(r"resp_run_[0-9a-f]+", seen.text)
        if not self.cell.fetchable or seen.ending in ("complete", "error event") or not known:
            return
        deadline = time.monotonic() + limit_s
        url = f"{self._base_url}/v1/responses/{known[0]}"
        while time.monotonic() < deadline:
            try:
                answer = httpx.get(url, headers={"x-api-key": self._key}, trust_env=False)
            except httpx.HTTPError:
                seen.fetched = "unreachable"
            else:
                seen.fetched = str(answer.status_code)
                if answer.is_success:
                    seen.fetched = answer.json()["status"]
                if answer.status_code == 404 or seen.fetched in _ENDED:
                    return
            time.sleep(POLL_S)


def _ending(status: int, text: str, *, stream: bool) -> str:
    if status >= 400:
        return f"error {status}"
    if not stream:
        return "complete"
    if re.search(r'^event: error|"error": ?\{|"type": ?"response.failed"', text, re.M):
        return "error event"
    return "complete" if any(last in text.replace('": "', '":"') for last in _LAST) else "cut"


def wants_tool(text: str) -> bool:
    """Return whether an answer calls the client's tool."""
    return f'"{CLIENT_TOOL}"' in text and any(key in text for key in _CALL_KEYS)


def body_of(cell: Cell) -> dict[str, Any]:
    """Return the body of the cell's first request."""
    text = f"What about {cell.mark}?"
    tools = _tools(cell) if cell.point == "tool round" else {}
    if cell.protocol == "responses":
        body: dict[str, Any] = {"model": cell.model, "input": text, "store": True}
        body |= {"background": True} if cell.mode.startswith("background") else {}
    else:
        body = {"model": cell.model, "messages": [{"role": "user", "content": text}]}
    if cell.protocol == "messages":
        body["max_tokens"] = 1000
    return body | tools | ({"stream": True} if cell.stream else {})


def _tools(cell: Cell) -> dict[str, Any]:
    named = {"name": CLIENT_TOOL, "description": "Reads a file"}
    if cell.protocol == "messages":
        return {"tools": [{**named, "input_schema": _SCHEMA}]}
    function = {**named, "parameters": _SCHEMA}
    if cell.protocol == "chat":
        return {"tools": [{"type": "function", "function": function}]}
    return {"tools": [{"type": "function", **function}]}


def second_body(cell: Cell, first: str) -> dict[str, Any]:
    """Return the body with the tool's result, after the answer ``first`` was not streamed."""
    body, answer = body_of(cell), json.loads(first)
    if cell.protocol == "chat":
        message = answer["choices"][0]["message"]
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": "a note"}
            for call in message["tool_calls"]
        ]
        body["messages"] += [message, *results]
    elif cell.protocol == "messages":
        blocks = answer["content"]
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": "a note"}
            for block in blocks
            if block["type"] == "tool_use"
        ]
        body["messages"] += [
            {"role": "assistant", "content": blocks},
            {"role": "user", "content": results},
        ]
    else:
        body["previous_response_id"] = answer["id"]
        body["input"] = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "a note"}
            for item in answer["output"]
            if item["type"] == "function_call"
        ]
    return body
