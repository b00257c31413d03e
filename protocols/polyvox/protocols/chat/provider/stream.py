"""Decodes a Chat Completions stream.

A chunk carries members of the growing message. Text, refusal and reasoning grow one at a time, but
tool calls may be interleaved. One call is open at a time: the next one begins when the open one is
complete (its arguments are a whole JSON document) or when the answer ends; until then it is held
back. Text that arrives while a call is open waits for the end too.

``finish_reason`` ends the answer. Usage comes in a later chunk, and from some servers after
``[DONE]``, so usage and Finished wait for both or for the end of the body. A server that never
gives a reason is believed at ``[DONE]`` if it sent content.

Every part's ``wire`` is a message fragment, as in ``polyvox.protocols.chat.elements``; a delta's
is a fragment of the chunk's choice: ``{"delta": {...}}``, ``{"logprobs": {...}}`` or further
members (see ``polyvox.protocols.chat.passing``).
"""

from collections.abc import Callable
from typing import Final

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.chat.elements import WHOLE_MEMBERS
from polyvox.protocols.chat.passing import Passing
from polyvox.protocols.chat.provider.calls import Call, Calls
from polyvox.protocols.chat.provider.growth import Grown
from polyvox.protocols.chat.provider.whole import delta_of
from polyvox.protocols.chat.usage import parse_usage, usage_elsewhere
from polyvox.protocols.decoding.ending import Content, finish_word, refuse_broken
from polyvox.protocols.openai import provider_errors as openai_errors
from polyvox.protocols.provider_side import Awaited
from polyvox.workflows.conversation import Json, Opaque, Part, Reasoning, Refusal, Text, Wire
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

_PartKind = type[Text] | type[Refusal] | type[Reasoning] | type[Opaque] | type[Call]

_BLANK: Final[dict[_PartKind, Part]] = {
    Text: Text(""),
    Refusal: Refusal(""),
    Reasoning: Reasoning("", origin="chat"),
}

_WHOLE: Final = frozenset({"content", *WHOLE_MEMBERS})
_DIALECTS: Final = frozenset({"reasoning_content", "reasoning"})


class ChatDecoder:
    """Decodes one stream; see ``provider_side.Decoder``."""

    def __init__(self) -> None:
        self._members: dict[str, Callable[[Json, list[Event]], None]] = {
            "role": lambda value, events: None,
            "content": self._on_content,
            "refusal": self._on_refusal,
            "reasoning_content": self._on_reasoning,
            "reasoning": self._on_reasoning,
            "tool_calls": self._on_tool_calls,
            "function_call": self._on_function_call,
        }
        self._started = False
        self._closed = False
        self._open: _PartKind | None = None
        self._texts: list[str] = []
        self._further = Grown()
        # Further members of the message received before its first part, which will carry them.
        self._ahead = Grown()
        self._dialect = "reasoning_content"
        self._aside: Wire | None = None
        self._calls = Calls()
        self._live: Call | None = None
        self._late: list[tuple[_PartKind, str]] = []
        self._content = Content()
        self._reason: str | None = None
        self._has_end_mark = self._is_marked = False
        self._usage: Json = None
        self._passing = Passing()
        self._logprobs = Grown()

    @property
    def awaits(self) -> Awaited:
        if self._closed:
            return "nothing"
        return "answer" if self._reason is None and not self._has_end_mark else "usage"

    @property
    def usage(self) -> Usage:
        return Usage() if self._usage is None else parse_usage(self._usage)

    def feed(self, name: str | None, data: bytes) -> list[Event]:
        if data[:6] == b"[DONE]":
            self._has_end_mark = self._is_marked = True
            is_answered = self._reason is not None or self._started
            return [] if self._usage is None and is_answered else self.finish()
        if not data or self._closed:
            return []
        if self._is_marked:
            return self._read_late(data)
        try:
            chunk = parse_json(data)
            if name == "error" or chunk.get("error") or chunk.get("object") == "error":
                if self._reason is not None:
                    return []
                raise openai_errors.parse_event(chunk.get("error") or chunk)
            return self._read(chunk)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            if self._reason is not None and isinstance(error, orjson.JSONDecodeError):
                # The answer is complete, whatever is between it and its usage.
                return []
            raise ModelError(
                "bad_stream",
                f"The provider sent a chunk that is not Chat Completions: {data[:200]!r}",
                body=data.decode(errors="replace"),
            ) from error

    def finish(self) -> list[Event]:
        if self._closed:
            return []
        self._closed = True
        events: list[Event] = []
        is_ended = self._reason is not None or self._has_end_mark
        if is_ended:
            self._end_all(events)
            # Without a reason the end mark ends an answer, but not one that never began.
            is_ended = self._reason is not None or self._content.is_shown
        reason = self._content.finish(self._reason) if is_ended else None
        if self._usage is not None or reason is not None:
            self._start("", events)
        if self._usage is not None:
            events.append(UsageReported(self.usage))
        if reason is not None:
            events.append(Finished(reason, wire=Wire("chat", self._ending())))
        return events

    def _read_late(self, data: bytes) -> list[Event]:
        """Read the usage of a chunk after the end mark; anything else there is ignored."""
        try:
            chunk = parse_json(data)
        except orjson.JSONDecodeError:
            return []
        self._usage = chunk.get("usage") if isinstance(chunk, dict) else None
        return self.finish() if self._usage else []

    def _read(self, chunk: Json) -> list[Event]:
        events: list[Event] = []
        if usage := chunk.get("usage"):
            self._usage = usage
        choices = chunk.get("choices")
        if not choices:
            self._passing.note(chunk)
            return events
        for choice in choices:
            if choice.get("index"):
                # One call asks for one choice; several answers are several calls.
                continue
            if not self._started:
                beginning = Wire("chat", self._passing.begin(chunk, choice))
                self._start(str(chunk.get("model") or ""), events, beginning)
            self._read_choice(choice, self._passing.read(chunk, choice), events)
            if self._reason is not None:
                self._usage = self._usage or usage_elsewhere(chunk, choice)
        return events

    def _read_choice(self, choice: Json, aside: dict[str, Json], events: list[Event]) -> None:
        if logprobs := choice.get("logprobs"):
            aside["logprobs"] = logprobs
            self._logprobs.add(logprobs)
        self._aside = Wire("chat", aside) if aside else None
        delta = choice.get("delta")
        message = choice.get("message")
        if delta is None and message and self._open is None and not self._content.is_shown:
            # Some servers repeat in ``message`` what the deltas held; this one is a whole answer.
            delta = delta_of(message)
            self._has_end_mark = True
        if delta:
            for member, value in delta.items():
                if value is None or value == "":
                    continue
                if member == "reasoning" and delta.get("reasoning_content"):
                    # Some servers send the same text in both members.
                    continue
                if on := self._members.get(member):
                    if member in _DIALECTS:
                        self._dialect = member
                    on(value, events)
                else:
                    self._on_other(member, value, events)
        if self._aside is not None:
            if self._open is not None:
                events.append(PartDelta("", self._aside))
            else:
                self._passing.hold(aside)
            self._aside = None
        reason = choice.get("finish_reason")
        if reason is None or (reason := finish_word(reason)) is None:
            return
        refuse_broken(reason)
        is_first = self._reason is None
        # Some servers give a reason with every chunk, and the true one with the last.
        self._reason = reason
        if is_first:
            self._end_all(events)

    def _on_content(self, value: Json, events: list[Event]) -> None:
        if isinstance(value, str):
            self._grow(Text, value, events)
            return
        for piece in value:
            # Mistral's reasoning models send typed pieces where others send a string.
            if piece["type"] == "text":
                self._grow(Text, piece["text"], events)
            elif piece["type"] == "thinking":
                text = "".join(inner.get("text", "") for inner in piece["thinking"])
                self._grow(Reasoning, text, events)
            else:
                self._on_other("content", [piece], events)

    def _on_refusal(self, value: Json, events: list[Event]) -> None:
        self._grow(Refusal, value, events)

    def _on_reasoning(self, value: Json, events: list[Event]) -> None:
        self._grow(Reasoning, value, events)

    def _grow(self, kind: _PartKind, text: Json, events: list[Event]) -> None:
        if type(text) is not str:
            raise TypeError(f"{text!r} is not a text")
        if self._open is not kind:
            if self._open is Call:
                self._late.append((kind, text))
                return
            self._end_part(events)
            self._open = kind
            events.append(PartStarted(_BLANK[kind]))
            self._remark(events)
        self._texts.append(text)
        events.append(PartDelta(text, self._aside))
        self._aside = None

    def _on_other(self, member: str, value: Json, events: list[Event]) -> None:
        piece = {member: value}
        if self._open is None or (member == "reasoning_details" and self._open is Text):
            self._end_part(events)
            if member == "reasoning_details":
                self._open = Reasoning
                events.append(PartStarted(_BLANK[Reasoning]))
                self._remark(events)
            elif member not in _WHOLE:
                self._ahead.add(piece)
                return
            else:
                self._open = Opaque
                self._further.add(piece)
                events.append(PartStarted(Opaque(wire=Wire("chat", piece))))
                return
        self._further.add(piece)
        events.append(PartDelta("", Wire("chat", {"delta": piece})))

    def _remark(self, events: list[Event]) -> None:
        """Add the members received earlier to the part that has just begun."""
        if self._ahead:
            ahead, self._ahead = self._ahead.whole(), Grown()
            events.append(PartDelta("", Wire("chat", {"delta": ahead})))
            self._further.add(ahead)

    def _on_tool_calls(self, entries: Json, events: list[Event]) -> None:
        for entry in entries:
            call, text, further = self._calls.take(entry)
            if call is not self._live:
                continue
            if text:
                events.append(PartDelta(text, self._aside))
                self._aside = None
            if further:
                piece = {"delta": {"tool_calls": [further]}}
                events.append(PartDelta("", Wire("chat", piece)))
        self._next_call(events)

    def _on_function_call(self, value: Json, events: list[Event]) -> None:
        self._on_tool_calls([{"index": 0, "function": value}], events)

    def _next_call(self, events: list[Event]) -> None:
        waiting = self._calls.waiting
        while waiting and (self._live is None or self._live.is_whole()):
            if not waiting[0].name:
                return
            self._end_part(events)
            call = self._live = waiting.popleft()
            self._open = Call
            events.append(PartStarted(call.opened()))
            self._remark(events)
            if text := call.text:
                events.append(PartDelta(text, self._aside))
                self._aside = None

    def _end_part(self, events: list[Event]) -> None:
        kind, text, further = self._open, "".join(self._texts), self._further.whole()
        if kind is None:
            return
        self._open, self._texts, self._further = None, [], Grown()
        part: Part
        if kind is Text:
            part = Text(text, wire=_fragment("content", text, further))
        elif kind is Refusal:
            part = Refusal(text, wire=_fragment("refusal", text, further))
        elif kind is Reasoning:
            wire = _fragment(self._dialect, text, further)
            if wire is None and self._dialect != "reasoning_content":
                wire = Wire("chat", {self._dialect: text})
            part = Reasoning(text, origin="chat", wire=wire)
        elif kind is Opaque:
            part = Opaque(wire=Wire("chat", further))
        else:
            call, self._live = self._live, None
            assert call is not None
            part = call.end(further, events)
        self._content.note(part)
        events.append(PartEnded(part))

    def _end_all(self, events: list[Event]) -> None:
        self._end_part(events)
        while self._calls.waiting:
            if not self._calls.waiting[0].name:
                raise ModelError("bad_stream", "The provider sent a tool call without a name.")
            self._next_call(events)
            self._end_part(events)
        late, self._late = self._late, []
        for kind, text in late:
            self._grow(kind, text, events)
        self._end_part(events)
        if self._ahead:
            # Members of a message without content, such as annotations, are not content.
            alone = Opaque(wire=Wire("chat", self._ahead.whole()))
            events += (PartStarted(alone), PartEnded(alone))
            self._ahead = Grown()

    def _start(self, model: str, events: list[Event], wire: Wire | None = None) -> None:
        if not self._started:
            self._started = True
            events.append(Started(model, wire=wire))

    def _ending(self) -> dict[str, Json]:
        ending = self._passing.ending(self._reason)
        if self._logprobs:
            ending["choices"][0]["logprobs"] = self._logprobs.whole()
        if self._usage is not None:
            ending["usage"] = self._usage
        return ending


def _fragment(member: str, text: str, further: dict[str, Json]) -> Wire | None:
    if not further:
        return None
    return Wire("chat", {member: text, **further} if text else further)
