"""Decodes the streams of a Responses provider.

``response.created`` may already hold items, a final status and usage, and a whole answer
(``object: "response"``) holds all of it; both count like the terminal event.

The Decoder counts on ``output_index`` alone: some servers give an item another id in every event,
and some events carry none. Items may be open side by side there but not in our grammar, so what
belongs to a later item waits until the one before it is done.
"""

from collections.abc import Callable

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.openai import provider_errors as openai_errors
from polyvox.protocols.provider_side import Awaited
from polyvox.protocols.requests.credentials import redacted
from polyvox.protocols.responses import elements as wire
from polyvox.protocols.responses.provider.items import OpenItem
from polyvox.workflows.conversation import Json, Part, Wire
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, Finished, PartEnded, Started, UsageReported
from polyvox.workflows.reply import Usage

# Members of a response object that every answer has its own of, and long ones that repeat the
# request. The others are the provider's word on how the model was set.
_NOT_PASSED_ON = frozenset(
    (
        "background",
        "completed_at",
        "conversation",
        "created_at",
        "error",
        "id",
        "input",
        "instructions",
        "metadata",
        "model",
        "object",
        "output",
        "previous_response_id",
        "prompt",
        "status",
        "store",
    )
)

_LONG = frozenset(("description", "format", "parameters", "tools"))
"""Members of a tool that the provider repeats and the client's own request has."""


def _passed_on(response: dict[str, Json]) -> Wire:
    members = {name: value for name, value in response.items() if name not in _NOT_PASSED_ON}
    if isinstance(tools := members.get("tools"), list):
        # Some servers repeat a tool as its name only, which nobody can compare with the request.
        members["tools"] = [
            redacted({name: value for name, value in tool.items() if name not in _LONG})
            for tool in tools
            if isinstance(tool, dict)
        ]
    return Wire("responses", members)


_ENDED = ("completed", "incomplete")
_FAILED = ("failed", "cancelled")


class ResponsesDecoder:
    """Decodes one stream of response events."""

    def __init__(self) -> None:
        self._items: dict[int, OpenItem] = {}
        self._current: OpenItem | None = None
        self._parts: list[Part] = []
        self._started = False
        self._finished = False
        self._failed = False
        self._opening: dict[str, Json] = {}
        self._usage = Usage()
        self._actions: dict[str, Callable[[Json], list[Event]]] = {
            "error": self._fail,
            "response.created": self._start,
            "response.queued": self._start,
            "response.in_progress": self._start,
            "response.completed": self._finish,
            "response.incomplete": self._finish,
            "response.failed": self._fail,
            "response.cancelled": self._fail,
            "response.output_item.added": self._add_item,
            "response.output_item.done": self._end_item,
        }

    @property
    def awaits(self) -> Awaited:
        return "nothing" if self._finished else "answer"

    @property
    def usage(self) -> Usage:
        return self._usage

    def feed(self, name: str | None, data: bytes) -> list[Event]:
        if self._finished:
            return []
        if data[:6] == b"[DONE]":
            return self.finish()
        try:
            json = parse_json(data)
            kind = json.get("type")
            if type(kind) is not str:
                if isinstance(json.get("output"), list):
                    return self._whole(json)
                if json.get("error"):
                    return self._fail(json)
                kind = json["type"] = name or ""
            act = self._actions.get(kind)
            if act is None:
                # The hot path: everything inside an item, text above all.
                item = self._items.get(json.get("output_index"))
                if item is None or item.done or not kind:
                    return []
                events = item.feed(kind, json)
                if item is self._current:
                    return events
                item.waiting += events
                return []
            return act(json)
        except ModelError as error:
            if self._failed or error.kind != "invalid_request":
                raise
            # An item that cannot be parsed is not the client's mistake but the provider's.
            raise _bad(f"an item in which {error.message} {data[:200]!r}") from error
        except orjson.JSONDecodeError as defect:
            raise _bad(f"no JSON: {data[:80]!r}") from defect
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as defect:
            raise _bad(f"an event with {defect!r}: {data[:200]!r}") from defect

    def finish(self) -> list[Event]:
        """Return the end of an answer that was complete in its first event; else nothing."""
        if self._finished or self._opening.get("status") not in _ENDED:
            return []
        try:
            return self._finish({"response": self._opening})
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as defect:
            raise _bad(f"a response with {defect!r}") from defect

    def _whole(self, response: dict[str, Json]) -> list[Event]:
        """Decode a response object in place of a stream; one without an end is no answer."""
        status = response.get("status")
        if status in _FAILED:
            return self._fail({"response": response})
        return self._finish({"response": response}) if status in (*_ENDED, None) else []

    def _start(self, json: Json) -> list[Event]:
        response = json.get("response") or {}
        if response.get("output") or response.get("status") in _ENDED:
            self._opening = response
        if response.get("usage"):
            self._usage = wire.parse_usage(response["usage"])
        return self._begin(str(response.get("model") or ""), _passed_on(response))

    def _begin(self, model: str, wire: Wire | None = None) -> list[Event]:
        if self._started:
            return []
        self._started = True
        return [Started(model, wire=wire)]

    def _add_item(self, json: Json) -> list[Event]:
        if json["output_index"] in self._items:
            raise ValueError("an item begun twice")
        return [*self._begin(""), *self._open(json["output_index"], json["item"])]

    def _open(self, index: int, added: Json) -> list[Event]:
        item = OpenItem(added)
        self._items[index] = item
        if self._current is None:
            self._current = item
            return item.begin()
        item.waiting += item.begin()
        return []

    def _end_item(self, json: Json) -> list[Event]:
        events = [*self._begin(""), *self._close(json["output_index"], json["item"])]
        self._note(events)
        return events

    def _close(self, index: int, done: Json) -> list[Event]:
        events: list[Event] = []
        item = self._items.get(index)
        if item is None:
            events += self._open(index, done)
            item = self._items[index]
        elif item.done:
            return events
        ended = item.end(done)
        if item is not self._current:
            item.waiting += ended
            return events
        events += ended
        return events + self._advance()

    def _advance(self) -> list[Event]:
        """Take up the items that waited for the current one: all that are done, and one more."""
        events: list[Event] = []
        self._current = None
        for index in sorted(self._items):
            item = self._items[index]
            events += item.waiting
            item.waiting = []
            if not item.done:
                self._current = item
                break
        return events

    def _finish(self, json: Json) -> list[Event]:
        response = json["response"]
        if response.get("status") in _FAILED:
            return self._fail(json)
        if json.get("type") == "response.incomplete":
            response = {**response, "status": "incomplete"}
        events = self._begin(str(response.get("model") or ""))
        output = response.get("output") or self._opening.get("output") or []
        for index, item in sorted(self._items.items()):
            if not item.done:
                last = output[index] if index < len(output) else None
                events += self._close(index, last if item.is_same(last) else item.so_far())
        for late in output[len(self._items) :]:
            events += self._close(max(self._items, default=-1) + 1, late)
        self._note(events)
        if response.get("usage"):
            self._usage = wire.parse_usage(response["usage"])
        reason = wire.finish_reason(response, self._parts)
        self._finished = True
        events.append(UsageReported(self._usage))
        events.append(Finished(reason, None, _passed_on(response)))
        return events

    def _note(self, events: list[Event]) -> None:
        self._parts += [event.part for event in events if isinstance(event, PartEnded)]

    def _fail(self, json: Json) -> list[Event]:
        self._failed = True
        response = json.get("response") or {}
        error = json.get("error") or response.get("error") or json
        if response.get("status") == "cancelled":
            error = {"message": "The provider cancelled the response.", "code": "server_error"}
        raise openai_errors.parse_event(error)


def _bad(what: str) -> ModelError:
    return ModelError("bad_stream", f"The provider sent {what}, which Responses does not allow.")
