"""Encodes an answer as the stream of Anthropic Messages.

Each frame has an ``event:`` line and a ``type``, each block an ``index``: clients skip or refuse
frames without them. There are no other event types, because some clients fail on unknown ones.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson

from polyvox.protocols.client_side import Ask
from polyvox.protocols.messages.blocks import is_blank, render_answer_block, render_input
from polyvox.protocols.messages.client.errors import render_event
from polyvox.protocols.messages.client.sent import unsent
from polyvox.protocols.messages.finish import ending
from polyvox.protocols.messages.usage import render_usage
from polyvox.protocols.tool_aliases import own_calls, restored
from polyvox.workflows.conversation import Json, Part, Reasoning, Text, ToolCall
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import (
    Event,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    opened,
    written,
)
from polyvox.workflows.reply import Reply

_COMMENT = b": keep-alive\n\n"
_PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

_GROWING = {
    "text": b'"text_delta","text":',
    "thinking": b'"thinking_delta","thinking":',
    "tool_use": b'"input_json_delta","partial_json":',
}
"""The format of the delta that extends a block's text."""


class MessagesEncoder:
    """Writes one answer; see ``client_side.Encoder``."""

    def __init__(self, ask: Ask, *, run_id: str) -> None:
        self._ask = ask
        self._own_calls = own_calls(ask)
        self._run_id = run_id
        self._begun = False
        self._done = False
        self._index = -1
        self._sent: list[Part] = []
        self._part: Part | None = None
        self._texts: list[str] = []
        self._wired: Counter[str] = Counter()
        self._head = b""
        self._pending = b""
        self._hidden = False
        self._encode: dict[type, Callable[[Any], bytes]] = {
            PartDelta: self._delta,
            PartStarted: self._start,
            PartEnded: self._end,
            Started: self._begin,
        }

    def feed(self, event: Event) -> bytes:
        """Encode one Event."""
        shown = event if self._own_calls is None else self._own_calls.event(event)
        encode = self._encode.get(type(shown))
        return b"" if encode is None else encode(shown)

    def keep_alive(self) -> bytes:
        """Return a ping; a comment before ``message_start``, where pings are not expected."""
        if self._done:
            return b""
        return _PING if self._begun else _COMMENT

    def finish(self, reply: Reply) -> bytes:
        """Write what has not been sent of ``reply``, then ``message_delta``, ``message_stop``."""
        reply = restored(reply, self._ask)
        frames = [self._begin(Started(reply.model, reply.usage))]
        shown = [*self._sent, *self._half()]
        missing = unsent(shown, is_open=self._part is not None, truth=reply.parts)
        if missing.open is not None:
            frames.append(self._complete(missing.open, missing.tail))
        frames.append(self._abandon())
        for part in missing.parts:
            frames.append(self._start(PartStarted(opened(part))))
            frames.append(self._end(PartEnded(part)))
        end = ending(reply)
        frames.append(_frame("message_delta", delta=end.stop, usage=end.usage, **end.beside))
        frames.append(_STOP)
        self._done = True
        return b"".join(frames)

    def fail(self, error: ModelError) -> bytes:
        """Write the ``error`` event; no ``message_stop`` follows it."""
        self._done = True
        document = render_event(error, self._run_id)
        return b"event: error\ndata: %b\n\n" % orjson.dumps(document)

    def _begin(self, event: Started) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        first = event.wire.json if event.wire and event.wire.protocol == "messages" else {}
        message = {
            **first,
            "id": f"msg_{self._run_id}",
            "type": "message",
            "role": "assistant",
            "model": self._ask.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                **render_usage(event.usage),
                "output_tokens": 0,
                **(first.get("usage") or {}),
            },
        }
        return _frame("message_start", message=message)

    def _start(self, event: PartStarted) -> bytes:
        frames = self._begin(Started()) + self._abandon()
        part = event.part
        self._part, self._texts, self._wired = part, [], Counter()
        self._head = self._pending = b""
        block = render_answer_block(part)
        self._hidden = block is None
        if block is None:
            return frames
        self._index += 1
        if spelled := _GROWING.get(block["type"]):
            self._head = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":%b' % (self._index, spelled)
            )
        frame = _frame("content_block_start", content_block=_blank(block), index=self._index)
        if part.on_wire("messages") is None and block["type"] in ("text", "thinking"):
            # It may stay empty, and the client would send the empty block back in its next
            # request, where it is refused.
            self._pending = frame
            return frames
        return frames + frame

    def _delta(self, event: PartDelta) -> bytes:
        text, wire = event.text, event.wire
        if self._hidden:
            return b""
        if wire is not None and wire.protocol == "messages":
            self._wired[wire.json["type"]] += 1
            self._texts.append(text)
            return self._opening() + self._wire_delta(wire.json)
        if not text:
            return b""
        self._texts.append(text)
        return self._grow(text)

    def _grow(self, text: str) -> bytes:
        if not self._head or _is_custom(self._part):
            return b""
        frame = self._head + orjson.dumps(text) + b"}}\n\n"
        return self._opening() + frame if self._pending else frame

    def _wire_delta(self, delta: Json) -> bytes:
        return _frame("content_block_delta", index=self._index, delta=delta)

    def _opening(self) -> bytes:
        pending, self._pending = self._pending, b""
        return pending

    def _end(self, event: PartEnded) -> bytes:
        full, shown = written(event.part), "".join(self._texts)
        if full.startswith(shown):
            return self._complete(event.part, full[len(shown) :])
        return self._abandon()

    def _complete(self, part: Part, tail: str) -> bytes:
        """Close the open block; ``part`` is what it should hold, ``tail`` the text it lacks."""
        if self._hidden:
            return self._close(part)
        frames = []
        if isinstance(part, ToolCall) and _is_custom(part):
            spelled = orjson.dumps(render_input(part, [])).decode()
            frames.append(self._head + orjson.dumps(spelled) + b"}}\n\n")
        elif tail:
            frames.append(self._grow(tail))
        if not is_blank(part):
            unseen = [delta for delta in _implied(part) if self._is_unseen(delta)]
            frames += [self._opening() + self._wire_delta(delta) for delta in unseen]
        return b"".join(frames) + self._close(part)

    def _is_unseen(self, delta: dict[str, Json]) -> bool:
        kind = delta["type"]
        seen = self._wired[kind] > 0
        self._wired[kind] -= seen
        return not seen

    def _abandon(self) -> bytes:
        """Close the open block as it is: its call was interrupted, or the reply lacks it."""
        if self._part is None:
            return b""
        part = self._half()[0]
        if isinstance(part, Reasoning) and not self._pending and not part.redacted:
            # Without a signature, a client would send it to a provider that refuses it.
            foreign = part.edited(opaque=None, origin=None)
            unseen = [delta for delta in _implied(foreign) if self._is_unseen(delta)]
            return b"".join(map(self._wire_delta, unseen)) + self._close(part)
        return self._close(part)

    def _close(self, part: Part) -> bytes:
        self._part = None
        if self._hidden:
            return b""
        if self._pending:
            self._pending = b""
            self._index -= 1
            return b""
        self._sent.append(part)
        return _frame("content_block_stop", index=self._index)

    def _half(self) -> list[Part]:
        """Return the open part as far as it was sent."""
        part, text = self._part, "".join(self._texts)
        match part:
            case None:
                return []
            case Text() | Reasoning():
                return [part.edited(text=text)]
            case ToolCall():
                return [part.edited(arguments=text)]
            case _:
                return [part]


def _is_custom(part: Part | None) -> bool:
    """Whether the call's text must be wrapped as a whole, so that it cannot be streamed."""
    return isinstance(part, ToolCall) and part.kind == "custom"


def _blank(block: dict[str, Json]) -> dict[str, Json]:
    """Return the block at its start: what deltas carry is still empty."""
    match block["type"]:
        case "text":
            blank = {**block, "text": ""}
            return {**blank, "citations": []} if block.get("citations") else blank
        case "thinking":
            return {**block, "thinking": "", "signature": ""}
        case "tool_use" | "server_tool_use":
            return {**block, "input": {}}
        case "compaction":
            return {**dict.fromkeys(block), "type": "compaction"}
        case _:
            return block


def _implied(part: Part) -> list[dict[str, Json]]:
    """Return the deltas that a blank block needs to hold ``part``, besides its growing text."""
    block = render_answer_block(part) or {}
    match block.get("type"):
        case "text":
            citations = block.get("citations") or ()
            return [{"type": "citations_delta", "citation": citation} for citation in citations]
        case "thinking":
            signature = block.get("signature")
            return [{"type": "signature_delta", "signature": signature}] if signature else []
        case "server_tool_use" if block.get("input"):
            spelled = orjson.dumps(block["input"]).decode()
            return [{"type": "input_json_delta", "partial_json": spelled}]
        case "compaction":
            rest = {name: value for name, value in block.items() if name != "type"}
            return [{"type": "compaction_delta", **rest}]
        case _:
            return []


def _frame(name: str, /, **members: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **members}))
