"""Selects the members of an answer that a Responses client sees, as its ``include`` says.

Members that are not shown are still stored, so a request that continues the answer has them.
Format: OpenAI ``ResponseIncludable``.
"""

from collections.abc import Iterable
from typing import Final

import orjson

from polyvox.protocols.client_side import Ask
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

_SECRET: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"
_IMAGE: Final = "message.input_image.image_url"
_SCREENSHOT: Final = "computer_call_output.output.image_url"

# A member by the type of its item, and the ``include`` value that requests it. Without that value
# it is null, or absent.
_NULL: Final = {
    "file_search_call": ("results", "file_search_call.results"),
    "code_interpreter_call": ("outputs", "code_interpreter_call.outputs"),
}
_ABSENT: Final = {
    "web_search_call": ("results", "web_search_call.results"),
    "reasoning": ("encrypted_content", _SECRET),
}
_SOURCES: Final = "web_search_call.action.sources"

# Bytes of frames that may have members to remove; most frames have none and are not parsed.
_MARKS: Final = (
    b'"encrypted_content":',
    b'"logprobs":[{',
    b'"results":',
    b'"outputs":',
    b'"sources":',
)


class Included:
    """Returns items, events and responses with the members that a client's ``include`` requests."""

    __slots__ = ("_asked", "_everything")

    def __init__(self, wanted: Iterable[str] = (), *, everything: bool = False) -> None:
        self._asked = frozenset(wanted)
        self._everything = everything

    def also(self, wanted: Iterable[str]) -> "Included":
        return Included(self._asked.union(wanted), everything=self._everything)

    def response(self, document: dict[str, Json]) -> dict[str, Json]:
        """Return a response object as the client sees it."""
        if self._everything or not document.get("output"):
            return document
        return {**document, "output": [self.item(item) for item in document["output"]]}

    def item(self, item: Json) -> Json:
        """Return an item of a response's output or input as the client sees it."""
        if self._everything or not isinstance(item, dict):
            return item
        kind = item.get("type", "message")
        if kind == "message" and isinstance(item.get("content"), list):
            return {**item, "content": [self.part(part) for part in item["content"]]}
        name, wish = _NULL.get(kind) or _ABSENT.get(kind) or ("", "")
        if name in item and wish not in self._asked:
            item = {**item, name: None} if kind in _NULL else _without(item, name)
        if kind == "web_search_call" and _SOURCES not in self._asked:
            return _without_inside(item, "action", "sources")
        if kind == "computer_call_output" and _SCREENSHOT not in self._asked:
            return _without_inside(item, "output", "image_url")
        return item

    def part(self, part: Json) -> Json:
        """Return a part of a message as the client sees it."""
        if self._everything or not isinstance(part, dict):
            return part
        if part.get("logprobs") and _LOGPROBS not in self._asked:
            return {**part, "logprobs": []}
        if part.get("type") == "input_image" and _IMAGE not in self._asked:
            return _without(part, "image_url")
        return part

    def event(self, members: dict[str, Json]) -> dict[str, Json]:
        """Return the members of a stream's event as the client sees them."""
        if self._everything:
            return members
        if "item" in members:
            return {**members, "item": self.item(members["item"])}
        if "part" in members:
            return {**members, "part": self.part(members["part"])}
        if "response" in members:
            return {**members, "response": self.response(members["response"])}
        if members.get("logprobs") and _LOGPROBS not in self._asked:
            return {**members, "logprobs": []}
        return members

    def frame(self, frame: bytes) -> bytes:
        """Return a frame of a stream with all members as the client sees it."""
        if self._everything or not any(mark in frame for mark in _MARKS):
            return frame
        head, found, data = frame.partition(b"\ndata: ")
        if not found:
            return frame
        return head + found + orjson.dumps(self.event(orjson.loads(data))) + b"\n\n"


EVERYTHING: Final = Included(everything=True)


def included(ask: Ask) -> Included:
    """Return what the client of ``ask`` requested to see."""
    wanted = ask.conversation.options.on_wire("responses") or {}
    return Included(wish for wish in wanted.get("include") or () if isinstance(wish, str))


def check_include(body: dict[str, Json]) -> None:
    """Raise ModelError("invalid_request") if ``include`` is not a list of strings."""
    wishes = body.get("include")
    if wishes is None or (isinstance(wishes, list) and all(isinstance(w, str) for w in wishes)):
        return
    raise ModelError("invalid_request", "'include' must be a list of strings.", param="include")


def _without(item: dict[str, Json], name: str) -> dict[str, Json]:
    return {key: value for key, value in item.items() if key != name}


def _without_inside(item: dict[str, Json], member: str, name: str) -> dict[str, Json]:
    inner = item.get(member)
    return {**item, member: _without(inner, name)} if isinstance(inner, dict) else item
