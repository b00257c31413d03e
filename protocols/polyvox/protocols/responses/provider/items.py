"""One output item of a Responses stream that is still being received."""

from collections.abc import Callable

from polyvox.protocols.decoding.exact_objects import text_of
from polyvox.protocols.responses.elements import parse_item, parse_part
from polyvox.workflows.conversation import Json, Opaque, Part, Wire
from polyvox.workflows.events import Event, PartDelta, PartEnded, PartStarted, opened, written

_BLANK_TEXT = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
_BLANK_REFUSAL = {"type": "refusal", "refusal": ""}

_GROWING = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that consist of one growing text, and the member that holds it."""


class OpenItem:
    """Turns the events of one item into the events of its parts.

    ``waiting`` are events that are held back because an earlier item is still open.
    """

    __slots__ = ("_added", "_ended", "_feeders", "_part", "_shell", "_texts", "done", "waiting")

    def __init__(self, added: Json) -> None:
        self.waiting: list[Event] = []
        self.done = False
        added = _spelled(added, "")
        self._added = added
        self._shell = {name: value for name, value in added.items() if name != "content"}
        self._ended = 0
        # The open content part as received so far, and the pieces of its text.
        self._part: Json = None
        self._texts: list[str] = []
        kind = added.get("type")
        if kind == "message":
            self._feeders = _MESSAGE_FEEDERS
        elif kind == "reasoning":
            self._feeders = _REASONING_FEEDERS
        else:
            self._feeders = _CALL_FEEDERS if kind in _GROWING else {}

    def begin(self) -> list[Event]:
        """Return the start of the item; a message starts with its first content part."""
        if self._added.get("type") == "message":
            return []
        growing = _GROWING.get(str(self._added.get("type")))
        item = {**self._added, growing: ""} if growing else self._added
        return [PartStarted(opened(parse_item(item)[0]))]

    def feed(self, kind: str, json: Json) -> list[Event]:
        """Decode one event inside the item."""
        feeder = self._feeders.get(kind)
        if feeder is not None:
            return feeder(self, json)
        if self._added.get("type") == "message" and self._part is None:
            return []
        return [PartDelta("", Wire("responses", json))]

    def end(self, item: Json) -> list[Event]:
        """Decode the complete item."""
        if not self.is_same(item):
            raise TypeError(f"{item!r:.80} does not end the item that began")
        self.done = True
        if item.get("type") != "message":
            return [PartEnded(parse_item(_spelled(item, "".join(self._texts)))[0])]
        content = item.get("content") or []
        if isinstance(content, str):
            content = [{**_BLANK_TEXT, "text": content}]
        if not content and self._part is None and not self._ended:
            # An item without parts would be lost; as an opaque part it is at least passed through.
            whole = Opaque(wire=Wire("responses", item))
            return [PartStarted(whole), PartEnded(whole)]
        shell = {name: value for name, value in item.items() if name != "content"}
        rest = content[self._ended :] or ([self._so_far()] if self._part is not None else [])
        events: list[Event] = []
        for number, json in enumerate(rest, start=1):
            part = parse_part(json, shell, last=number == len(rest))
            if self._part is None:
                events += _whole(part)
            else:
                events.append(PartEnded(part))
                self._part = None
        return events

    def is_same(self, item: Json) -> bool:
        """Whether ``item`` of the answer's output list is the complete form of this one."""
        return isinstance(item, dict) and item.get("type") == self._added.get("type")

    def so_far(self) -> Json:
        """Return the item as far as it was received, if it never ended."""
        growing = _GROWING.get(str(self._added.get("type")))
        if growing is None:
            return self._added
        return {**self._added, "status": "completed", growing: "".join(self._texts)}

    def _add_part(self, json: Json) -> list[Event]:
        events = self._end_part()
        self._part = json["part"]
        self._texts = []
        return [*events, PartStarted(opened(parse_part(self._part, self._shell, last=False)))]

    def _end_part(self) -> list[Event]:
        """End a content part before another one; the item's end ends the last one."""
        if self._part is None:
            return []
        part = parse_part(self._so_far(), self._shell, last=False)
        self._ended += 1
        self._part = None
        return [PartEnded(part)]

    def _so_far(self) -> Json:
        name = "refusal" if self._part.get("type") == "refusal" else "text"
        if self._part.get(name) or name not in self._part:
            return self._part
        return {**self._part, name: "".join(self._texts)}

    def _note_part(self, json: Json) -> list[Event]:
        part = json["part"]
        # Some servers end a part without repeating its content.
        if self._part is None or part is None:
            return []
        if not isinstance(part, dict):
            raise TypeError(f"{part!r:.80} is not a content part")
        known, self._part = self._part, part
        if known.get("logprobs") and not self._part.get("logprobs"):
            self._part = {**self._part, "logprobs": known["logprobs"]}
        return []

    def _note_text(self, json: Json) -> list[Event]:
        # Only this event has the log probabilities of a part that is not the last.
        if json.get("logprobs") and self._part is not None:
            self._part = {**self._part, "text": json["text"], "logprobs": json["logprobs"]}
        return []

    def _write_text(self, json: Json) -> list[Event]:
        if self._part is None:
            return [*self._add_part({"part": _BLANK_TEXT}), *self._write(json)]
        return self._write(json)

    def _write_refusal(self, json: Json) -> list[Event]:
        if self._part is None:
            return [*self._add_part({"part": _BLANK_REFUSAL}), *self._write(json)]
        return self._write(json)

    def _write(self, json: Json) -> list[Event]:
        text = json["delta"]
        if type(text) is not str:
            raise TypeError(f"{text!r:.80} is not a text")
        self._texts.append(text)
        if json.get("logprobs"):
            return [PartDelta(text, Wire("responses", json))]
        return [PartDelta(text)]

    def _add_section(self, json: Json) -> list[Event]:
        """Begin a summary or a raw text; a blank line separates it from the one before."""
        self._part = json
        return [PartDelta("\n\n" if self._texts else "", Wire("responses", json))]

    def _write_section(self, json: Json) -> list[Event]:
        if self._part is None or _place(self._part) != _place(json):
            return [*self._add_section(_section(json)), *self._write(json)]
        return self._write(json)

    def _skip(self, json: Json) -> list[Event]:
        return []


def _spelled(item: Json, otherwise: str) -> Json:
    """Return ``item`` with the text of its arguments, if a server sends an object or nothing."""
    growing = _GROWING.get(str(item.get("type")))
    if growing is None or isinstance(item.get(growing), str):
        return item
    text = item.get(growing)
    return {**item, growing: otherwise if text is None else text_of(text)}


def _whole(part: Part) -> list[Event]:
    events: list[Event] = [PartStarted(opened(part))]
    if text := written(part):
        events.append(PartDelta(text))
    return [*events, PartEnded(part)]


def _place(json: Json) -> tuple[str, int]:
    if "summary_index" in json:
        return "summary", json["summary_index"]
    return "content", json.get("content_index", 0)


def _section(json: Json) -> Json:
    """Return the event that begins the section in which the delta ``json`` stands."""
    name, index = _place(json)
    if name == "summary":
        part = {"type": "summary_text", "text": ""}
        kind = "response.reasoning_summary_part.added"
        return {"type": kind, "summary_index": index, "part": part}
    part = {"type": "reasoning_text", "text": ""}
    return {"type": "response.content_part.added", "content_index": index, "part": part}


_Feeders = dict[str, Callable[[OpenItem, Json], list[Event]]]

_MESSAGE_FEEDERS: _Feeders = {
    "response.content_part.added": OpenItem._add_part,
    "response.content_part.done": OpenItem._note_part,
    "response.output_text.delta": OpenItem._write_text,
    "response.output_text.done": OpenItem._note_text,
    "response.refusal.delta": OpenItem._write_refusal,
    "response.refusal.done": OpenItem._skip,
}

_REASONING_FEEDERS: _Feeders = {
    "response.reasoning_summary_part.added": OpenItem._add_section,
    "response.reasoning_summary_part.done": OpenItem._skip,
    "response.reasoning_summary_text.delta": OpenItem._write_section,
    "response.reasoning_summary_text.done": OpenItem._skip,
    "response.reasoning_text.delta": OpenItem._write_section,
    "response.reasoning_text.done": OpenItem._skip,
    # The names that Open Responses gives to the same two.
    "response.reasoning.delta": OpenItem._write_section,
    "response.reasoning.done": OpenItem._skip,
    "response.content_part.added": OpenItem._add_section,
    "response.content_part.done": OpenItem._skip,
}

_CALL_FEEDERS: _Feeders = {
    "response.function_call_arguments.delta": OpenItem._write,
    "response.function_call_arguments.done": OpenItem._skip,
    "response.custom_tool_call_input.delta": OpenItem._write,
    "response.custom_tool_call_input.done": OpenItem._skip,
}
