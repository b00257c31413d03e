"""The only internal form of a request: an ordered Conversation of messages.

Every value here is frozen. A value that was parsed from a client's request also carries the
wire element it came from (``wire``), so that

* the same protocol out gets that element back unchanged, unknown fields and spelling included;
* another protocol is rendered from the typed fields, and what those do not hold is a named loss.

``wire`` is therefore not part of a value's equality, and whoever edits a value must go through
``edited``, which drops it: the element on the wire no longer says what the value says.

Order is meaning: messages are never re-ordered and never merged here. A protocol that spreads one
turn over several elements (Responses items) has one Message per element.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

Protocol = str
"""The name of a protocol: one of ``PROTOCOLS``, or one that a program speaks besides."""

PROTOCOLS: tuple[Protocol, ...] = ("chat", "responses", "messages")

Json = Any
"""A JSON value as ``orjson.loads`` returns it."""

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Wire:
    """A wire element as one protocol spells it. ``json`` is shared, never written to."""

    protocol: Protocol
    json: Json


@dataclass(frozen=True, slots=True)
class _Element:
    """Something that may remember the wire element it was parsed from."""

    wire: Wire | None = field(default=None, compare=False, kw_only=True, repr=False)

    def edited(self, **changes: Any) -> Self:
        """Return a copy with changes, detached from the wire element it no longer equals."""
        return replace(self, **{"wire": None, **changes})

    def on_wire(self, protocol: Protocol) -> Json | None:
        """Return the original element if it is in ``protocol``'s spelling, else None."""
        return self.wire.json if self.wire is not None and self.wire.protocol == protocol else None


@dataclass(frozen=True, slots=True)
class Text(_Element):
    text: str


@dataclass(frozen=True, slots=True)
class Refusal(_Element):
    """The model declined; ``text`` is its explanation and may be empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where media comes from; exactly one of ``data``, ``url`` and ``file_id`` is set.

    ``data`` is base64 text as the client sent it (never re-encoded); ``media_type`` belongs to it.
    """

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None


@dataclass(frozen=True, slots=True)
class Image(_Element):
    source: Source
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class File(_Element):
    """A document: PDF, plain text, or anything a provider takes as a file."""

    source: Source
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Audio(_Element):
    """``data`` is base64; ``format`` is the wire's short name (wav, mp3)."""

    data: str
    format: str


@dataclass(frozen=True, slots=True)
class Reasoning(_Element):
    """A model's thinking: ``text`` (or its summary) for people, ``opaque`` for its origin only.

    ``opaque`` is what must go back unchanged to the protocol in ``origin`` (a Messages signature,
    redacted data, a Responses encrypted_content) and is meaningless anywhere else.
    """

    text: str
    opaque: str | None = None
    origin: Protocol | None = None
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall(_Element):
    """``arguments`` is the text the model wrote: re-serialising would lose order and spelling.

    For ``kind="custom"`` it is free text, otherwise JSON (an empty call is ``{}``).
    """

    id: str
    name: str
    arguments: str
    kind: Literal["function", "custom"] = "function"
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult(_Element):
    call_id: str
    parts: tuple["Part", ...]
    is_error: bool = False
    kind: Literal["function", "custom"] = "function"


@dataclass(frozen=True, slots=True)
class Opaque(_Element):
    """A block only its own protocol knows; ``wire`` is its whole content and always set."""


Part = Text | Refusal | Image | File | Audio | Reasoning | ToolCall | ToolResult | Opaque


@dataclass(frozen=True, slots=True)
class Message(_Element):
    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All Text of this message, joined without a separator."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Tool(_Element):
    """A tool the model may call. ``parameters`` is a JSON Schema, passed on unchanged.

    ``kind="server"`` is run by the provider itself: only ``wire`` says what it is, and no other
    protocol has it.
    """

    name: str
    description: str | None = None
    parameters: Json = None
    kind: Literal["function", "custom", "server"] = "function"
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """``mode="tool"`` forces the tool called ``name``; ``required`` forces any tool.

    ``allowed`` names the only tools that may be called, None if all may.
    """

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None
    allowed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """What the answer must look like: any JSON object, or JSON that follows ``schema``."""

    kind: Literal["json_object", "json_schema"]
    schema: Json = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Options(_Element):
    """Sampling and output settings; None means the client did not say.

    ``wire`` holds the request's own document without model, messages, tools and stream, so the
    same protocol keeps every field. Unlike other elements an edited Options keeps its ``wire``:
    a renderer overrides just the fields that differ from what the document says.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    effort: str | None = None
    format: OutputFormat | None = None

    def edited(self, **changes: Any) -> Self:
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Ordered messages, tools and options.

    ``system`` is the instruction a protocol keeps outside its messages (Messages ``system``,
    Responses ``instructions``); Chat has none and keeps its system messages in ``messages``.
    ``headers`` are the request headers that belong to the protocol (``anthropic-beta`` ...),
    lower-case names, sent on to a provider of the same protocol only.
    """

    messages: tuple[Message, ...]
    system: Message | None = None
    tools: tuple[Tool, ...] = ()
    options: Options = Options()
    headers: tuple[tuple[str, str], ...] = ()

    def then(self, *messages: Message) -> "Conversation":
        """Return the conversation continued by ``messages``."""
        return replace(self, messages=self.messages + messages)

    def instructed(self, text: str) -> "Conversation":
        """Return the conversation with ``text`` added after its system instruction."""
        said = self.system.parts if self.system else ()
        added = Text(f"\n\n{text}" if said else text)
        return replace(self, system=Message("system", (*said, added)))

    def offering(self, tools: Iterable[Tool]) -> "Conversation":
        """Return the conversation with ``tools`` offered besides the client's own."""
        return replace(self, tools=(*self.tools, *tools))

    def with_options(self, **changes: Any) -> "Conversation":
        """Return the conversation with the named options changed."""
        return replace(self, options=self.options.edited(**changes))

    def without_tool_use(self) -> "Conversation":
        """Return the conversation as one in which no tool can be called.

        Providers refuse a history of calls without the tools' definitions, so these stay, and are
        forbidden, when there is such a history.
        """
        if any(isinstance(part, ToolCall) for m in self.messages for part in m.parts):
            return self.with_options(tool_choice=ToolChoice("none"))
        bare = self.with_options(tool_choice=None, parallel_tool_calls=None)
        return replace(bare, tools=())

    @property
    def last_user_text(self) -> str:
        """The text of the newest user message that has any, or an empty string."""
        for message in reversed(self.messages):
            if message.role == "user" and message.text:
                return message.text
        return ""

    @property
    def opens_turn(self) -> bool:
        """Whether the newest message is the user's word, not the result of a tool."""
        # Agents put instructions behind the user's word (Claude Code: a last `system` message).
        said = (m for m in reversed(self.messages) if m.role not in ("system", "developer"))
        newest = next(said, None)
        if newest is None:
            return True
        return newest.role == "user" and not any(isinstance(p, ToolResult) for p in newest.parts)


def user(text: str) -> Message:
    """Return a user message of one text."""
    return Message("user", (Text(text),))


def assistant(*parts: Part) -> Message:
    """Return an assistant message of ``parts``."""
    return Message("assistant", parts)


def tool_result(call: ToolCall, text: str, *, is_error: bool = False) -> Message:
    """Return the message that answers ``call`` with ``text``."""
    return Message("tool", (ToolResult(call.id, (Text(text),), is_error, call.kind),))
