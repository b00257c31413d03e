"""Decodes the stream of a Messages provider.

Event order, according to the API reference and recordings: ``message_start``; for each block
``content_block_start``, deltas, ``content_block_stop``, one block open at a time;
``message_delta`` with stop reason and final usage; ``message_stop``. ``ping`` comes anywhere.

``message_start`` may already hold blocks, the stop reason and the usage (programmatic tool calling
does); they count like those of later events. A whole answer (``type: "message"``) is such a
``message_start`` with nothing but ``message_stop`` after it.
"""

from collections.abc import Callable

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.decoding.arguments import Arguments
from polyvox.protocols.decoding.ending import Content, finish_word
from polyvox.protocols.decoding.exact_objects import text_of
from polyvox.protocols.messages.arguments import parse_arguments
from polyvox.protocols.messages.provider.errors import parse_error_event
from polyvox.protocols.messages.usage import parse_usage
from polyvox.protocols.provider_side import Awaited
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
from polyvox.workflows.reply import Usage

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
        self._opening_blocks = 0
        self._is_repeated = False
        self._texts: list[str] = []
        self._arguments = Arguments()
        self._citations: list[Json] = []
        self._unknown: dict[str, list[str]] = {}
        self._json: list[str] = []
        self._grows, self._field = _NOT_GROWING
        self._usage: dict[str, Json] = {}
        self._counted = Usage()
        self._ending: dict[str, Json] | None = None
        self._content = Content()
        self._decode: dict[str, Callable[[dict[str, Json]], list[Event]]] = {
            "content_block_delta": self._delta,
            "content_block_start": self._block_start,
            "content_block_stop": self._block_stop,
            "message": self._whole,
            "message_start": self._message_start,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "error": self._error,
        }

    @property
    def awaits(self) -> Awaited:
        return "nothing" if self._finished else "answer"

    @property
    def usage(self) -> Usage:
        return self._counted

    def feed(self, name: str | None, data: bytes) -> list[Event]:
        """Decode one server-sent event; pings and unknown event types are ignored.

        Raises ModelError for an error event, and ModelError("bad_stream") for data that is not
        this protocol.
        """
        try:
            event = parse_json(data)
            kind = event.get("type") or name or _kind_of(event)
            decode = self._decode.get(kind)
            return [] if decode is None or self._finished else decode(event)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            # Some servers of this protocol add the end mark of another protocol.
            if data.strip() == b"[DONE]":
                return []
            raise _bad_stream(f"sent {data[:200]!r}") from error

    def finish(self) -> list[Event]:
        """Return the usage at most: only ``message_stop`` ends an answer, not the body's end."""
        is_reported = self._finished or self._ending is None
        return [] if is_reported else [UsageReported(self.usage)]

    def _whole(self, message: dict[str, Json]) -> list[Event]:
        return [*self._message_start({"message": message}), *self._message_stop({})]

    def _message_start(self, event: dict[str, Json]) -> list[Event]:
        if self._index >= 0 or self._ending is not None:
            # A proxy that retries after a failure joins two answers in one stream.
            raise _bad_stream("began a second answer within the first")
        first = event["message"]
        message = {name: value for name, value in first.items() if name != "content"}
        self._count(message.get("usage") or {})
        is_ended = finish_word(message.get("stop_reason")) is not None
        ending = {n: message.pop(n) for n in _OF_ENDING if is_ended and n in message}
        beside = {n: message.pop(n) for n in _BESIDE_ENDING if is_ended and n in message}
        events: list[Event] = []
        if not self._started:
            self._started = True
            wire = Wire("messages", message)
            events.append(Started(str(message.get("model") or ""), self.usage, wire))
        content = first.get("content") or []
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        for index, block in enumerate(content):
            events += self._open(index, block)
        events += self._close()
        self._opening_blocks = len(content)
        return events + self._end(ending, beside) if is_ended else events

    def _count(self, usage: dict[str, Json]) -> None:
        """Note usage; it comes as running totals, and a later event may leave some out."""
        self._usage = self._usage | {n: v for n, v in usage.items() if v is not None}
        self._counted = parse_usage(self._usage)

    def _block_start(self, event: dict[str, Json]) -> list[Event]:
        if not self._started:
            raise _bad_stream("began without message_start")
        events = self._close()
        start, index = event["content_block"], event["index"]
        # Some servers repeat the blocks of message_start as events.
        self._is_repeated = self._opening_blocks > 0 and index < self._opening_blocks
        if self._is_repeated:
            self._index = index
            return events
        return events + self._open(index, start)

    def _open(self, index: int, start: dict[str, Json]) -> list[Event]:
        events = self._close()
        self._index = index
        self._block = dict(start)
        self._texts, self._json = [], []
        self._arguments = Arguments()
        self._citations, self._unknown = [], {}
        self._grows, self._field = _GROWING.get(start["type"], _NOT_GROWING)
        events.append(PartStarted(_opened(start)))
        # A block may start with its first text in it.
        if self._grows and start.get(self._field):
            events += self._grow_text(_string(start, self._field))
        return events

    def _grow_text(self, text: str) -> list[Event]:
        if self._field != "partial_json":
            self._texts.append(text)
        else:
            text = self._arguments.feed(text)
            if self._arguments.rest:
                raise _bad_stream("has two objects as the arguments of one tool call")
        return [PartDelta(text)] if text else []

    def _delta(self, event: dict[str, Json]) -> list[Event]:
        block, delta = self._block, event["delta"]
        if self._is_repeated and event["index"] == self._index:
            return []
        if block is None or event["index"] != self._index:
            raise _bad_stream(f"wrote to block {event['index']!r}, which is not open")
        if delta["type"] == self._grows:
            text = _string(delta, self._field)
            events = self._grow_text(text)
            if len(delta) == _PLAIN or events != [PartDelta(text)]:
                return events
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
        if block["type"] == "tool_use":
            late = self._arguments.release()
            if not self._arguments.text.strip():
                # A call without arguments may have no delta, or be complete in its start.
                late += self._arguments.feed(text_of(block.get("input") or {}))
                late += self._arguments.release()
            if late:
                events.append(PartDelta(late))
            text = self._arguments.text
        part = _ended(block, text, "".join(self._json))
        self._content.note(part)
        return [*events, PartEnded(part)]

    def _message_delta(self, event: dict[str, Json]) -> list[Event]:
        if not self._started:
            raise _bad_stream("ended without message_start")
        events = self._close()
        self._count(event.get("usage") or {})
        beside = {k: v for k, v in event.items() if k not in _KNOWN_MEMBERS}
        return events + self._end(event["delta"], beside)

    def _end(self, delta: dict[str, Json], beside: dict[str, Json]) -> list[Event]:
        """Note members of the answer's ending; several events may add to it."""
        ending = self._ending or {"delta": {}, "event": {}}
        known = ending["delta"].get("stop_details")
        if finish_word(delta.get("stop_reason")) is None:
            delta = {name: value for name, value in delta.items() if name != "stop_reason"}
        ending["delta"] |= delta
        ending["event"] |= beside
        self._ending = ending
        details = delta.get("stop_details") or {}
        if not details.get("explanation") or details == known:
            return []
        refusal = Refusal(_string(details, "explanation"))
        self._content.note(refusal)
        return [PartStarted(Refusal("")), PartDelta(refusal.text), PartEnded(refusal)]

    def _message_stop(self, event: dict[str, Json]) -> list[Event]:
        events = self._close()
        ending = self._ending or {"delta": {}, "event": {}}
        delta = ending["delta"]
        reason = finish_word(delta.get("stop_reason"))
        if reason is None and not self._content.is_shown:
            # Without a reason and without content it is not the end of an answer.
            return events
        finish = self._content.finish(reason)
        self._finished = True
        wire = Wire("messages", {**ending, "usage": self._usage})
        is_named = delta.get("stop_sequence") is not None
        stop = _string(delta, "stop_sequence") if is_named else None
        return [*events, UsageReported(self.usage), Finished(finish, stop, wire)]

    def _error(self, event: dict[str, Json]) -> list[Event]:
        raise parse_error_event(event)


_KNOWN_MEMBERS = frozenset({"type", "delta", "usage"})
_OF_ENDING = ("stop_reason", "stop_sequence", "stop_details", "container")
_BESIDE_ENDING = ("context_management",)
"""Members of a whole message that a stream has in ``message_delta`` and next to its ``delta``."""


def _kind_of(event: dict[str, Json]) -> str:
    """Return the type of an event that has none. Raises KeyError if its members do not show it."""
    if event.get("error"):
        return "error"
    if "content" in event and event.get("role") == "assistant":
        return "message"
    raise KeyError("type")


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
