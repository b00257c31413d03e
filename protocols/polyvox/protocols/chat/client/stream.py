"""Encodes an answer as a Chat Completions stream.

A Chat client joins all text to one string, all reasoning to another, and pairs tool calls by index.
So the encoder records what it sent by channel, and ``finish`` compares channels, not parts.
"""

from collections import Counter
from typing import Final

import orjson

from polyvox.protocols.chat.client.delta_lists import DeltaLists
from polyvox.protocols.chat.client.ending import (
    answer_id,
    ending,
    further_members,
    last_members,
    render_usage,
)
from polyvox.protocols.chat.client.legacy_functions import finish_reason
from polyvox.protocols.chat.passing import CHUNK, repeated
from polyvox.protocols.client_side import Ask
from polyvox.protocols.openai.client_errors import error_object
from polyvox.protocols.tool_aliases import own_calls, restored
from polyvox.protocols.tool_names import flat_name
from polyvox.workflows.conversation import Json, Opaque, Part, Reasoning, Refusal, Text, ToolCall
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

_dumps = orjson.dumps

DONE: Final = b"data: [DONE]\n\n"

_MEMBERS: Final[dict[type[Part], bytes]] = {
    Text: b'{"content":',
    Refusal: b'{"refusal":',
    Reasoning: b'{"reasoning_content":',
}
_GROWN: Final = {"function": "arguments", "custom": "input"}


class Encoder:
    """Encodes one answer; see ``client_side.Encoder``. ``index`` is that of its choice."""

    def __init__(self, ask: Ask, *, run_id: str, created: int, index: int = 0) -> None:
        options = ask.conversation.options.on_wire("chat") or {}
        self.tells_usage = bool((options.get("stream_options") or {}).get("include_usage"))
        self._ask = ask
        self._own_calls = own_calls(ask)
        self._run_id = run_id
        head = {
            "id": answer_id(run_id),
            "object": "chat.completion.chunk",
            "created": created,
            "model": ask.model,
        }
        self._index = index
        self._own = head
        # Further members of the chunks from now on, all that were written, those of the choice.
        self._further: dict[str, Json] = {}
        self._sent: dict[str, Json] = {}
        self._sent_of_choice: set[str] = set()
        self._is_live = False
        self._lists = DeltaLists()
        self._head = self._before = self._prefix = self._suffix = b""
        self._opening = self._closing = b""
        usage = b',"usage":null' if self.tells_usage else b""
        self._end = usage + b"}\n\n"
        self._after = b',"logprobs":null,"finish_reason":null}]' + self._end
        self._carry({})

        self._begun = False
        self._sent_logprobs = False
        # Sent so far: the pieces of each part of a channel; index and pieces of each call by id.
        self._channels: dict[type[Part], list[list[str]]] = {kind: [] for kind in _MEMBERS}
        self._calls: dict[str, tuple[int, list[str]]] = {}
        self._call_count = 0
        self._opaque = 0
        # How many parts without text were sent: signatures, and details of reasoning.
        self._textless: Counter[type[Part]] = Counter()
        # The open part: its pieces, the JSON before and after each, whether it had other deltas.
        self._open: type[Part] | None = None
        self._pieces: list[str] | None = None
        self._sent_further = False

    def feed(self, event: Event) -> bytes:
        if self._own_calls is not None:
            own = self._own_calls.event(event)
            return b"" if own is None else self._encode(own)
        return self._encode(event)

    def _encode(self, event: Event) -> bytes:
        if type(event) is PartDelta:
            if event.wire is not None and event.wire.protocol == "chat":
                return self._aside(event.text, event.wire.json)
            return self._grow(event.text)
        match event:
            case Started(wire=wire):
                return self._begin_call(wire.json if wire and wire.protocol == "chat" else {})
            case PartStarted(part):
                return self._start(part)
            case PartEnded(part):
                return self._complete(part)
        return b""

    def keep_alive(self) -> bytes:
        return b": keep-alive\n\n"

    def finish(self, reply: Reply) -> bytes:
        reply = restored(reply, self._ask)
        answer, choice = ending(reply)
        begin, missing = self._begin(answer), self._missing(reply)
        if self._sent_logprobs or not choice.get("logprobs"):
            choice["logprobs"] = None
        if self._ask.in_functions:
            choice["finish_reason"] = finish_reason(choice["finish_reason"])
        before, last = self._further, repeated(answer)
        if self._is_live and not any(missing):
            last, own = last_members(reply)
            sent = {n for n in choice if n in self._sent_of_choice and n not in own}
            choice = {n: v for n, v in choice.items() if n not in sent} | own
        unsent = {name: value for name, value in answer.items() if self._sent.get(name) != value}
        self._carry({**last, **unsent})
        ended = {"index": self._index, "delta": {}, **choice} | {"index": self._index}
        frame = self._head + b',"choices":[' + _dumps(ended) + b"]" + self._end
        self._carry({name: v for name, v in before.items() if last.get(name) == v})
        return b"".join([begin, *missing, frame, self.end(reply)])

    def end(self, reply: Reply) -> bytes:
        """Write the end of the answer after the end of its choice."""
        usage = render_usage(reply) if self.tells_usage else None
        if usage is None:
            return DONE
        return self._head + b',"choices":[],"usage":' + _dumps(usage) + b"}\n\n" + DONE

    @property
    def head(self) -> dict[str, Json]:
        """The members that every chunk has."""
        return {**self._own, **self._further}

    def fail(self, error: ModelError) -> bytes:
        return b"data: " + _dumps({"error": error_object(error, self._run_id)}) + b"\n\n"

    def _begin_call(self, first: dict[str, Json]) -> bytes:
        """Begin the answer of a model call; ``first`` are members of its first chunk."""
        self._lists.begin_call()
        self._is_live = bool(first)
        if not self._begun:
            return self._begin(first)
        self._carry({name: value for name, value in first.items() if name != "choices"})
        return b""

    def _begin(self, first: dict[str, Json]) -> bytes:
        """Begin the answer; ``first`` are members of a chunk of a provider of this protocol."""
        if self._begun:
            return b""
        self._begun = True
        members = dict(first)
        choice = dict((members.pop("choices", None) or [{}])[0])
        empty = choice.pop("delta", None) or {}
        self._carry(members)
        frame = self._chunk({"role": "assistant", "content": "", "refusal": None, **empty})
        frame = self._beside(frame, choice)
        self._carry(repeated(members))
        return frame

    def _carry(self, further: dict[str, Json]) -> None:
        """Set the further members of every chunk from now on."""
        self._further = further
        self._sent |= further
        self._head = b"data: " + _dumps({**self._own, **further})[:-1]
        self._before = self._head + b',"choices":[{"index":%d,"delta":' % self._index
        self._set_ends(self._opening, self._closing)

    def _set_ends(self, opening: bytes, closing: bytes) -> None:
        """Set the JSON around the text of the open part's deltas."""
        self._opening, self._closing = opening, closing
        self._prefix = self._before + opening
        self._suffix = closing + self._after

    def _beside(self, frame: bytes, choice: dict[str, Json]) -> bytes:
        """Return the frame of a chunk with further members of its choice."""
        members = {name: value for name, value in choice.items() if name != "finish_reason"}
        if not members:
            return frame
        self._sent_of_choice.update(members)
        beside = _dumps({"logprobs": None, "finish_reason": None, **members})
        return frame[: -len(self._after)] + b"," + beside[1:] + b"]" + self._end

    def _chunk(self, delta: Json) -> bytes:
        return self._before + _dumps(self._lists.numbered(delta)) + self._after

    def _grow(self, text: str) -> bytes:
        if self._pieces is None or not text:
            return b""
        self._pieces.append(text)
        return self._prefix + _dumps(text) + self._suffix

    def _start(self, part: Part) -> bytes:
        self._open = type(part)
        self._sent_further = False
        self._pieces = None
        begun = self._begin({})
        if isinstance(part, ToolCall):
            return begun + self._start_call(part)
        if isinstance(part, Opaque):
            self._opaque += 1
            fragment = part.on_wire("chat")
            return begun + (self._chunk(fragment) if fragment else b"")
        if (member := _MEMBERS.get(type(part))) is not None:
            self._pieces = []
            self._channels[type(part)].append(self._pieces)
            self._set_ends(member, b"}")
        return begun

    def _start_call(self, call: ToolCall) -> bytes:
        index, pieces = self._call_count, list[str]()
        self._call_count += 1
        self._pieces = pieces
        self._calls[call.id] = (index, pieces)
        grown = _GROWN[call.kind]
        entry = ((call.on_wire("chat") or {}).get("tool_calls") or [{}])[0]
        definition = {"name": flat_name(call.name, call.namespace), grown: ""}
        if self._is_function(index, call):
            self._set_ends(*_around({"function_call": {grown: ""}}))
            return self._chunk({"function_call": definition})
        header = {**entry, "index": index, "id": call.id, "type": call.kind, call.kind: definition}
        self._set_ends(*_around({"tool_calls": [{"index": index, call.kind: {grown: ""}}]}))
        return self._chunk({"tool_calls": [header]})

    def _is_function(self, index: int, call: ToolCall) -> bool:
        return self._ask.in_functions and index == 0 and call.kind == "function"

    def _aside(self, text: str, choice: Json) -> bytes:
        """Encode a delta with more than text: ``choice`` is a fragment of the choice."""
        if CHUNK in choice:
            self._carry(choice[CHUNK])
        if self._open is None:
            return b""
        delta = dict(choice.get("delta") or {})
        if delta:
            self._sent_further = True
        if (entries := delta.get("tool_calls")) and self._call_count:
            index = self._call_count - 1
            delta["tool_calls"] = [{**entry, "index": index} for entry in entries]
        frame = self._chunk(delta) if delta else b""
        beside = {name: choice[name] for name in choice if name not in ("delta", CHUNK)}
        if not beside:
            return self._grow(text) + frame
        self._sent_logprobs = self._sent_logprobs or "logprobs" in beside
        return self._beside(self._grow(text) or self._chunk({}), beside) + frame

    def _complete(self, part: Part) -> bytes:
        frames = [] if self._open is type(part) else [self._start(opened(part))]
        if self._pieces is not None:
            sent, text = "".join(self._pieces), written(part)
            if text.startswith(sent):
                frames.append(self._grow(text[len(sent) :]))
            self._textless[type(part)] += not text
        if not self._sent_further and not isinstance(part, Opaque):
            frames.append(self._tell_further(part))
        self._open = self._pieces = None
        return b"".join(frames)

    def _tell_further(self, part: Part) -> bytes:
        offset = 0
        if type(part) is Text and part.on_wire("chat") is None:
            offset = sum(len(text) for pieces in self._channels[Text][:-1] for text in pieces)
        members = further_members(part, offset)
        return self._chunk(members) if members else b""

    def _missing(self, reply: Reply) -> list[bytes]:
        """Encode the parts, or the rest of them, that were not sent."""
        frames: list[bytes] = []
        left = {kind: _sent_length(pieces, reply, kind) for kind, pieces in self._channels.items()}
        opaque, textless = self._opaque, self._textless.copy()
        for part in reply.parts:
            kind = type(part)
            if isinstance(part, ToolCall):
                if part.id in self._calls:
                    frames.append(self._rest_of_call(part))
                else:
                    frames += (self._start(opened(part)), self._complete(part))
            elif isinstance(part, Opaque):
                opaque -= 1
                if opaque < 0:
                    frames += (self._start(part), self._complete(part))
            elif kind in left and not written(part) and textless[kind]:
                textless[kind] -= 1
            elif kind in left:
                text = written(part)
                sent = min(left[kind], len(text))
                left[kind] -= sent
                if sent == 0:
                    frames += (self._start(opened(part)), self._complete(part))
                elif sent < len(text):
                    self._start(opened(part))
                    frames.append(self._grow(text[sent:]))
        self._open = self._pieces = None
        return frames

    def _rest_of_call(self, call: ToolCall) -> bytes:
        index, pieces = self._calls[call.id]
        sent = "".join(pieces)
        if len(sent) == len(call.arguments) or not call.arguments.startswith(sent):
            return b""
        rest = {_GROWN[call.kind]: call.arguments[len(sent) :]}
        pieces.append(call.arguments[len(sent) :])
        if self._is_function(index, call):
            return self._chunk({"function_call": rest})
        return self._chunk({"tool_calls": [{"index": index, call.kind: rest}]})


def _around(delta: Json) -> tuple[bytes, bytes]:
    """Return the JSON before and after the text that replaces the last ``""`` of ``delta``."""
    before, after = _dumps(delta).rsplit(b'""', 1)
    return before, after


def _sent_length(parts: list[list[str]], reply: Reply, kind: type[Part]) -> int:
    """Return how many characters of the reply's channel ``kind`` were sent.

    Earlier parts may have been sent that the reply does not contain (a flow that streamed a note
    before its answer). A text that does not match counts as the whole channel: sending more would
    only mix two texts.
    """
    whole = "".join(written(part) for part in reply.parts if type(part) is kind)
    texts = [text for pieces in parts if (text := "".join(pieces))]
    for first in range(len(texts)):
        tail = "".join(texts[first:])
        if whole.startswith(tail):
            return len(tail)
    return len(whole) if texts else 0
