"""Decodes the stream of a Messages provider.

Event order, according to the API reference and recordings: ``message_start``; for each block
``content_block_start``, deltas, ``content_block_stop``, one block open at a time;
``message_delta`` with stop reason and final usage; ``message_stop``. ``ping`` comes anywhere.
"""

from collections.abc import Callable

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.messages.blocks import parse_arguments
from polyvox.protocols.messages.finish import FINISH
from polyvox.protocols.messages.provider.errors import parse_error_event
from polyvox.protocols.messages.usage import parse_usage
from polyvox.workflows.conversation import (
    Json,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Wire,
)
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
)

_GROWING = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}
"""The delta that carries the growing text of a block, and its field."""

_NOT_GROWING = ("", "")

_PLAIN = 2
"""The members of a delta with only a type and a text."""


class MessagesDecoder:
    """Turns one stream into Events; see ``provider_side.Decoder``."""

    def __init__(self) -> None:
        self._started = False
        self._finished = False
        self._block: dict[str, Json] | None = None
        self._index = -1
        self._texts: list[str] = []
        self._citations: list[Json] = []
        self._unknown: dict[str, list[str]] = {}
        self._json: list[str] = []
        self._grows, self._field = _NOT_GROWING
        self._usage: dict[str, Json] = {}
        self._ending: dict[str, Json] | None = None
        self._decode: dict[str, Callable[[dict[str, Json]], list[Event]]] = {
            "content_block_delta": self._delta,
            "content_block_start": self._block_start,
            "content_block_stop": self._block_stop,
            "message_start": self._message_start,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "error": self._error,
        }

    def feed(self, name: str | None, data: bytes) -> list[Event]:
        """Decode one server-sent event; pings and unknown event types are ignored.

        Raises ModelError for an error event, and ModelError("bad_stream") for data that is not
        this protocol.
        """
        try:
            event = parse_json(data)
            decode = self._decode.get(event["type"])
            return [] if decode is None or self._finished else decode(event)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            # Some servers of this protocol add the end mark of another protocol.
            if data.strip() == b"[DONE]":
                return []
            raise _bad_stream(f"sent {data[:200]!r}") from error

    def finish(self) -> list[Event]:
        """Return nothing: only ``message_stop`` ends an answer, not the end of the body."""
        return []

    def _message_start(self, event: dict[str, Json]) -> list[Event]:
        if self._index >= 0 or self._ending is not None:
            # A proxy that retries after a failure joins two answers in one stream.
            raise _bad_stream("began a second answer within the first")
        message = {name: value for name, value in event["message"].items() if name != "content"}
        self._usage = dict(message.get("usage") or {})
        if self._started:
            return []
        self._started = True
        usage = parse_usage(self._usage)
        return [Started(str(message.get("model") or ""), usage, Wire("messages", message))]

    def _block_start(self, event: dict[str, Json]) -> list[Event]:
        if not self._started:
            raise _bad_stream("began without message_start")
        events = self._close()
        start = event["content_block"]
        self._index = event["index"]
        self._block = dict(start)
        self._texts, self._json = [], []
        self._citations, self._unknown = [], {}
        self._grows, self._field = _GROWING.get(start["type"], _NOT_GROWING)
        events.append(PartStarted(_opened(start)))
        # A block may start with its first text in it.
        if self._grows and start.get(self._field):
            text = _string(start, self._field)
            self._texts.append(text)
            events.append(PartDelta(text))
        return events

    def _delta(self, event: dict[str, Json]) -> list[Event]:
        block, delta = self._block, event["delta"]
        if block is None or event["index"] != self._index:
            raise _bad_stream(f"wrote to block {event['index']!r}, which is not open")
        if delta["type"] == self._grows:
            text = _string(delta, self._field)
            self._texts.append(text)
            if len(delta) == _PLAIN:
                return [PartDelta(text)] if text else []
            return [PartDelta(text, Wire("messages", delta))]
        if type(delta["type"]) is not str:
            raise _bad_stream(f"has a delta of type {delta['type']!r:.80}")
        self._grow(block, delta)
        return [PartDelta("", Wire("messages", delta))]

    def _grow(self, block: dict[str, Json], delta: dict[str, Json]) -> None:
        match delta["type"]:
            case "input_json_delta":
                self._json.append(delta["partial_json"])
            case "citations_delta":
                self._citations.append(delta["citation"])
            case "signature_delta":
                block["signature"] = delta["signature"]
            case _:
                # Unknown deltas are treated like known ones: text grows, anything else is
                # set once.
                for name, value in delta.items():
                    if name != "type":
                        self._say(block, name, value)

    def _say(self, block: dict[str, Json], name: str, value: Json) -> None:
        was = block.get(name)
        if not isinstance(was, str) or not isinstance(value, str):
            block[name] = value
            self._unknown.pop(name, None)
        else:
            # In pieces: joining at each delta would take quadratic time.
            self._unknown.setdefault(name, [was]).append(value)

    def _block_stop(self, event: dict[str, Json]) -> list[Event]:
        return self._close()

    def _close(self) -> list[Event]:
        block = self._block
        if block is None:
            return []
        self._block = None
        if self._citations:
            block["citations"] = [*(block.get("citations") or ()), *self._citations]
        block.update((name, "".join(pieces)) for name, pieces in self._unknown.items())
        text = "".join(self._texts)
        events: list[Event] = []
        if block["type"] == "tool_use" and not text:
            # A call without arguments may have no delta, or be complete in its start.
            text = orjson.dumps(block.get("input") or {}).decode()
            events.append(PartDelta(text))
        events.append(PartEnded(_ended(block, text, "".join(self._json))))
        return events

    def _message_delta(self, event: dict[str, Json]) -> list[Event]:
        if not self._started:
            raise _bad_stream("ended without message_start")
        events = self._close()
        usage = {name: v for name, v in (event.get("usage") or {}).items() if v is not None}
        self._usage |= usage
        ending = self._ending or {"delta": {}, "event": {}}
        ending["delta"] |= event["delta"]
        ending["event"] |= {k: v for k, v in event.items() if k not in _KNOWN_MEMBERS}
        self._ending = ending
        details = event["delta"].get("stop_details") or {}
        if details.get("explanation"):
            explanation = _string(details, "explanation")
            events += [
                PartStarted(Refusal("")),
                PartDelta(explanation),
                PartEnded(Refusal(explanation)),
            ]
        events.append(UsageReported(parse_usage(self._usage)))
        return events

    def _message_stop(self, event: dict[str, Json]) -> list[Event]:
        events = self._close()
        if self._ending is None:
            return events
        delta = self._ending["delta"]
        reason = delta.get("stop_reason")
        if reason is None:
            # Without a reason it is not the end of an answer.
            return events
        self._finished = True
        wire = Wire("messages", {**self._ending, "usage": self._usage})
        is_named = delta.get("stop_sequence") is not None
        stop = _string(delta, "stop_sequence") if is_named else None
        events.append(Finished(FINISH.get(reason, "stop"), stop, wire))
        return events

    def _error(self, event: dict[str, Json]) -> list[Event]:
        raise parse_error_event(event)


_KNOWN_MEMBERS = frozenset({"type", "delta", "usage"})


def _bad_stream(what: str) -> ModelError:
    return ModelError("bad_stream", f"The provider's Messages stream {what}.")


def _string(json: dict[str, Json], name: str) -> str:
    value = json[name]
    if type(value) is str:
        return value
    raise TypeError(f"{name} is {value!r:.80}")


def _opened(start: dict[str, Json]) -> Part:
    wire = Wire("messages", start)
    match start["type"]:
        case "text":
            return Text("", wire=wire)
        case "thinking":
            return Reasoning("", origin="messages", wire=wire)
        case "redacted_thinking":
            return Reasoning("", _string(start, "data"), "messages", redacted=True, wire=wire)
        case "tool_use":
            return ToolCall(_string(start, "id"), _string(start, "name"), "", wire=wire)
        case _:
            return Opaque(wire=wire)


def _ended(block: dict[str, Json], text: str, json: str) -> Part:
    """Return the finished part; ``block`` is complete except for its growing text."""
    wire = Wire("messages", block)
    match block["type"]:
        case "text":
            block["text"] = text
            return Text(text, wire=wire)
        case "thinking":
            block["thinking"] = text
            signature = block.get("signature") and _string(block, "signature")
            return Reasoning(text, signature or None, "messages", wire=wire)
        case "redacted_thinking":
            return Reasoning("", block["data"], "messages", redacted=True, wire=wire)
        case "tool_use":
            block["input"] = _object(text, block.get("input"))
            return ToolCall(block["id"], block["name"], text, wire=wire)
        case _:
            if json:
                block["input"] = _object(json, block.get("input"))
            return Opaque(wire=wire)


def _object(text: str, otherwise: Json) -> Json:
    """Parse the object in ``text``; an answer cut at its limit may leave it incomplete."""
    value = parse_arguments(text)
    return otherwise if value is None else value
