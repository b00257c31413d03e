"""Writes the items of a Responses stream: one writer for each type of item.

A writer is opened, gets its parts one after the other (only a message has several) and is closed:
``open (start write* end)+ close``. If a part has a wire of this protocol, the item is that one,
with unknown members and the provider's id; otherwise it is made from the part's fields.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from polyvox.protocols.neutral import citations_of, neutral_of
from polyvox.protocols.openai.annotations import responses_annotations
from polyvox.protocols.responses.client.frames import Frames, delta_ends
from polyvox.protocols.sealed_reasoning import seal
from polyvox.workflows.conversation import Json, Part, Reasoning, Refusal, Text, ToolCall
from polyvox.workflows.events import written


class Ids:
    """Makes ids for items that have none because they come from another protocol."""

    __slots__ = ("_run_id",)

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def at(self, prefix: str, index: int) -> str:
        return f"{prefix}_{self._run_id}_{index}"


class ItemWriter(ABC):
    """Base of the writers. ``goes_on`` says whether the open item expects another part."""

    prefix = "item"
    goes_on = False

    def __init__(self, frames: Frames, ids: Ids, index: int) -> None:
        self._frames = frames
        self._ids = ids
        self._index = index
        self._id = ""
        self._texts: list[str] = []
        self._item: dict[str, Json] = {}
        self._head = self._tail = b""

    def takes(self, part: Part) -> bool:
        """Whether ``part`` belongs to the open item."""
        return False

    def open(self, part: Part) -> bytes:
        own: dict[str, Json] = part.on_wire("responses") or {}
        shell: dict[str, Json] = own.get("item", own)
        self._id = shell.get("id") or self._ids.at(self.prefix, self._index)
        added = self._added(part, shell)
        return self._frames.event(
            "response.output_item.added", {"output_index": self._index, "item": added}
        )

    def start(self, part: Part) -> bytes:
        return b""

    def write(self, text: str) -> bytes:
        self._texts.append(text)
        return self._frames.delta(self._head, text, self._tail)

    def show(self, text: str, json: Json) -> bytes:
        """Write a delta in the provider's own format, with the ids and numbers of this stream."""
        if text:
            self._texts.append(text)
        members = {k: v for k, v in json.items() if k not in _OURS}
        if "item_id" in json:
            members["item_id"] = self._id
        members["output_index"] = self._index
        return self._frames.event(json["type"], members)

    @abstractmethod
    def end(self, part: Part) -> bytes:
        """Write the rest of ``part`` and the frames that end it."""

    def close(self) -> tuple[bytes, Json]:
        """Return the last frame of the item, and the item."""
        done = {"output_index": self._index, "item": self._item}
        return self._frames.event("response.output_item.done", done), self._item

    def so_far(self, part: Part) -> Part:
        """Return the started ``part`` with the text written so far."""
        text = "".join(self._texts)
        match part:
            case Text() | Refusal() | Reasoning():
                return replace(part, text=text)
            case ToolCall():
                return replace(part, arguments=text)
            case _:
                return part

    @abstractmethod
    def _added(self, part: Part, shell: dict[str, Json]) -> Json:
        """Return the item at the start of ``part``; ``shell`` has its id and status."""

    def _rest(self, text: str) -> bytes:
        """Write the rest of ``text``; nothing if it does not continue what was written."""
        item = "".join(self._texts)
        if len(text) > len(item) and text.startswith(item):
            return self.write(text[len(item) :])
        return b""

    def _event(self, kind: str, **members: Any) -> bytes:
        where = {"item_id": self._id, "output_index": self._index}
        return self._frames.event(kind, {**where, **members})


_OURS = frozenset(("type", "sequence_number", "item_id", "output_index", "obfuscation"))


class MessageWriter(ItemWriter):
    """A message of texts and refusals."""

    prefix = "msg"

    def __init__(self, frames: Frames, ids: Ids, index: int) -> None:
        super().__init__(frames, ids, index)
        self._content: list[Json] = []
        self._shell: dict[str, Json] = {}

    def takes(self, part: Part) -> bool:
        own = part.on_wire("responses")
        if own is None:
            return self.goes_on and _is_piece(part)
        return self.goes_on and own.get("item", {}).get("id") == self._id

    def _added(self, part: Part, shell: dict[str, Json]) -> Json:
        started = {name: value for name, value in shell.items() if name != "status"}
        self._shell = {"type": "message", "role": "assistant", **started, "id": self._id}
        return {**self._shell, "status": "in_progress", "content": []}

    def start(self, part: Part) -> bytes:
        self._texts = []
        at = len(self._content)
        where = {"item_id": self._id, "output_index": self._index, "content_index": at}
        refused = isinstance(part, Refusal)
        kind = "response.refusal.delta" if refused else "response.output_text.delta"
        members = where if refused else {**where, "logprobs": []}
        self._head, self._tail = delta_ends(kind, members)
        return self._event(
            "response.content_part.added", content_index=at, part=self._spelled(part, "")
        )

    def end(self, part: Part) -> bytes:
        text = written(part)
        frames = self._rest(text)
        at = len(self._content)
        spelled = self._spelled(part, text)
        own = part.on_wire("responses")
        if own is None and isinstance(part, Text):
            cited = responses_annotations(citations_of(part))
            spelled["annotations"] = cited
            frames += b"".join(
                self._event(
                    "response.output_text.annotation.added",
                    content_index=at,
                    annotation_index=number,
                    annotation=annotation,
                )
                for number, annotation in enumerate(cited)
            )
        self._content.append(spelled)
        if isinstance(part, Refusal):
            frames += self._event("response.refusal.done", content_index=at, refusal=text)
        else:
            logprobs = spelled.get("logprobs") or []
            frames += self._event(
                "response.output_text.done", content_index=at, text=text, logprobs=logprobs
            )
        if own is not None and "item" in own:
            self._shell |= {**own["item"], "id": self._id}
        self.goes_on = _is_piece(part) if own is None else own.get("last") is False
        return frames + self._event("response.content_part.done", content_index=at, part=spelled)

    def close(self) -> tuple[bytes, Json]:
        self._item = {"status": "completed", **self._shell, "content": self._content}
        return super().close()

    def _spelled(self, part: Part, text: str) -> dict[str, Json]:
        own = part.on_wire("responses")
        spelled: dict[str, Json] = (own or {}).get("part") or {}
        if isinstance(part, Refusal):
            return {"type": "refusal", **spelled, "refusal": text}
        return {"annotations": [], "logprobs": [], **spelled, "type": "output_text", "text": text}


def _is_piece(part: Part) -> bool:
    """Whether other pieces of the same text may follow, because its protocol cites by block."""
    return isinstance(part, Text) and neutral_of(part.wire).cites_by_block


class CallWriter(ItemWriter):
    """A call of a function, or of a free-text tool, whose text is written unchanged."""

    prefix = "fc"

    def __init__(self, frames: Frames, ids: Ids, index: int) -> None:
        super().__init__(frames, ids, index)
        self._custom = False
        self._call: dict[str, Json] = {}

    def _added(self, part: Part, shell: dict[str, Json]) -> Json:
        assert isinstance(part, ToolCall)
        self._custom = part.kind == "custom"
        if self._custom and not shell:
            self._id = self._ids.at("ctc", self._index)
        self._call = {
            "type": "custom_tool_call" if self._custom else "function_call",
            "call_id": part.id or self._ids.at("call", self._index),
            "name": part.name,
            **({"namespace": part.namespace} if part.namespace else {}),
        }
        kind = f"response.{self._event_name}.delta"
        where = {"item_id": self._id, "output_index": self._index}
        self._head, self._tail = delta_ends(kind, where)
        return {**shell, **self._call, "id": self._id, "status": "in_progress", self._member: ""}

    @property
    def _member(self) -> str:
        return "input" if self._custom else "arguments"

    @property
    def _event_name(self) -> str:
        return "custom_tool_call_input" if self._custom else "function_call_arguments"

    def _text(self, part: ToolCall) -> str:
        # A call without arguments is an empty object in this protocol.
        return part.arguments if self._custom or part.arguments else "{}"

    def end(self, part: Part) -> bytes:
        assert isinstance(part, ToolCall)
        text = self._text(part)
        frames = self._rest(text)
        self._item = {
            "status": "completed",
            **(part.on_wire("responses") or {}),
            **self._call,
            "id": self._id,
            self._member: text,
        }
        named = {} if self._custom else {"name": self._call["name"]}
        return frames + self._event(
            f"response.{self._event_name}.done", **{self._member: text}, **named
        )


class ReasoningWriter(ItemWriter):
    """Reasoning in sections: parts of a summary, or raw text."""

    prefix = "rs"

    def __init__(self, frames: Frames, ids: Ids, index: int) -> None:
        super().__init__(frames, ids, index)
        # The open section: (summary or content, its index), and the offset of its text in _said.
        self._section: tuple[str, int] | None = None
        self._begins = 0

    def _added(self, part: Part, shell: dict[str, Json]) -> Json:
        return {"type": "reasoning", **shell, "id": self._id, "summary": []}

    def write(self, text: str) -> bytes:
        if self._section is None:
            return self._begin("summary", 0) + super().write(text)
        return super().write(text)

    def show(self, text: str, json: Json) -> bytes:
        sort = _SECTION_OF_EVENT.get(json["type"])
        if sort is None:
            return super().show(text, json)
        frames = self._end_section()
        if text:
            # The blank line between sections is in the part's text, but in neither section.
            self._texts.append(text)
        return frames + self._begin(sort, json.get(f"{sort}_index", 0))

    def end(self, part: Part) -> bytes:
        assert isinstance(part, Reasoning)
        own = part.on_wire("responses")
        frames = b"" if self._texts or own is None else self._sections(own)
        frames += self._rest(part.text) + self._end_section()
        self._item = {**own, "id": self._id} if own is not None else self._made(part)
        return frames

    def _sections(self, item: dict[str, Json]) -> bytes:
        """Write all sections of an item without any written text."""
        frames = b""
        for sort in ("summary", "content"):
            for at, section in enumerate(item.get(sort) or ()):
                if self._texts:
                    frames += self._end_section()
                    self._texts.append("\n\n")
                frames += self._begin(sort, at)
                text = section.get("text") if isinstance(section, dict) else None
                if text and isinstance(text, str):
                    frames += self.write(text)
        return frames

    def _begin(self, sort: str, at: int) -> bytes:
        self._section = (sort, at)
        self._begins = len(self._texts)
        names = _SECTIONS[sort]
        where = {"item_id": self._id, "output_index": self._index, f"{sort}_index": at}
        self._head, self._tail = delta_ends(f"{names.text}.delta", where)
        part = {"type": names.part_type, "text": ""}
        return self._event(f"{names.part}.added", **{f"{sort}_index": at}, part=part)

    def _end_section(self) -> bytes:
        if self._section is None:
            return b""
        sort, at = self._section
        self._section = None
        names = _SECTIONS[sort]
        text = "".join(self._texts[self._begins :])
        index = {f"{sort}_index": at}
        part = {"type": names.part_type, "text": text}
        return self._event(f"{names.text}.done", **index, text=text) + self._event(
            f"{names.part}.done", **index, part=part
        )

    def _made(self, part: Reasoning) -> dict[str, Json]:
        """Return the item for reasoning of another protocol, with its opaque data sealed."""
        return {
            "id": self._id,
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": part.text}] if part.text else [],
            "encrypted_content": seal(part.origin, part.opaque or "", redacted=part.redacted),
        }


class _Names:
    __slots__ = ("part", "part_type", "text")

    def __init__(self, part: str, part_type: str, text: str) -> None:
        self.part = part
        self.part_type = part_type
        self.text = text


_SECTIONS = {
    "summary": _Names(
        "response.reasoning_summary_part", "summary_text", "response.reasoning_summary_text"
    ),
    "content": _Names("response.content_part", "reasoning_text", "response.reasoning_text"),
}

_SECTION_OF_EVENT = {
    "response.reasoning_summary_part.added": "summary",
    "response.content_part.added": "content",
}


class OpaqueWriter(ItemWriter):
    """An item that only this protocol has: written unchanged."""

    def _added(self, part: Part, shell: dict[str, Json]) -> Json:
        return {**shell, "id": self._id}

    def write(self, text: str) -> bytes:
        return b""

    def end(self, part: Part) -> bytes:
        self._item = {**(part.on_wire("responses") or {}), "id": self._id}
        return b""


class SilentWriter(ItemWriter):
    """A part without an item in this protocol: nothing is written."""

    def open(self, part: Part) -> bytes:
        return b""

    def write(self, text: str) -> bytes:
        return b""

    def show(self, text: str, json: Json) -> bytes:
        return b""

    def end(self, part: Part) -> bytes:
        return b""

    def _added(self, part: Part, shell: dict[str, Json]) -> Json:
        return None

    def close(self) -> tuple[bytes, Json]:
        return b"", None
