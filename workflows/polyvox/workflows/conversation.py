"""Conversation, the internal representation of a request, independent of the protocol.

All values are frozen. A value parsed from a client's request also holds the wire element it was
parsed from (``wire``):

* For the same protocol that element is sent unchanged, including unknown fields and spelling.
* For another protocol the typed fields are rendered; content they cannot hold is reported as lost.

``wire`` is not compared for equality. Use ``edited`` to change a value: it drops ``wire``, which no
longer matches the changed value.

Messages are never reordered or merged. Where a protocol splits one turn into several elements
(Responses items), each element is one Message.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

Protocol = str
"""The name of a protocol: one of ``PROTOCOLS``, or one that a program adds."""

PROTOCOLS: tuple[Protocol, ...] = ("chat", "responses", "messages")

Json = Any
"""A JSON value as ``orjson.loads`` returns it."""

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Wire:
    """A JSON element in the form of one protocol. ``json`` is shared and must not be modified."""

    protocol: Protocol
    json: Json


@dataclass(frozen=True, slots=True)
class _Element:
    """Base of values that may hold the wire element they were parsed from."""

    wire: Wire | None = field(default=None, compare=False, kw_only=True, repr=False)

    def edited(self, **changes: Any) -> Self:
        """Return a copy with ``changes`` and without the wire element, which no longer matches."""
        return replace(self, **{"wire": None, **changes})

    def on_wire(self, protocol: Protocol) -> Json | None:
        """Return the original wire element if it came in ``protocol``, else None."""
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
    """The source of media; exactly one of ``data``, ``url`` and ``file_id`` is set.

    ``data`` is base64 text as the client sent it, never re-encoded; ``media_type`` describes it.
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
    """A document: PDF, plain text, or any other file that a provider accepts."""

    source: Source
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Audio(_Element):
    """Audio input. ``data`` is base64; ``format`` is the protocol's short name (wav, mp3)."""

    data: str
    format: str


@dataclass(frozen=True, slots=True)
class Reasoning(_Element):
    """A model's reasoning: ``text`` (or its summary) is readable, ``opaque`` only by its origin.

    ``opaque`` must be sent back unchanged to the protocol in ``origin`` (a Messages signature,
    redacted data, a Responses encrypted_content); other protocols cannot use it.
    """

    text: str
    opaque: str | None = None
    origin: Protocol | None = None
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall(_Element):
    """A model's call of a tool.

    ``arguments`` is the exact text the model wrote; parsing and serializing it again would change
    order and spelling. It is free text for ``kind="custom"``, otherwise JSON (``{}`` if empty).

    Example::

        reply = await run.ask(run.params.model, step="draft")
        for call in reply.tool_calls:
            arguments = json.loads(call.arguments or "{}")
            run.note("wants a tool", name=call.name, arguments=arguments)
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
    """A part that exists only in one protocol; ``wire`` holds all its content and is always set."""


Part = Text | Refusal | Image | File | Audio | Reasoning | ToolCall | ToolResult | Opaque


@dataclass(frozen=True, slots=True)
class Message(_Element):
    """One message of a conversation. A tool's result is a message of the role ``tool``.

    ``user(text)``, ``assistant(*parts)`` and ``tool_result(call, text)`` make messages.

    Example::

        told = user("Which of these two designs is simpler?")
        answered = assistant(Text("The first one."))
        run.note("asked", text=told.text, role=answered.role)
    """

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All Text of this message, joined without a separator."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Tool(_Element):
    """A tool the model may call. ``parameters`` is a JSON Schema as the client sent it.

    A tool of ``kind="server"`` is run by the provider. It is defined by ``wire`` alone and not
    available in other protocols.
    """

    name: str
    description: str | None = None
    parameters: Json = None
    kind: Literal["function", "custom", "server"] = "function"
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools the model may or must call.

    ``mode="tool"`` forces the tool called ``name``; ``required`` forces any tool. ``allowed`` names
    the tools that may be called; None allows all.
    """

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None
    allowed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The required format of the answer: any JSON object, or JSON that matches ``schema``."""

    kind: Literal["json_object", "json_schema"]
    schema: Json = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Options(_Element):
    """Sampling and output settings; None means that the client did not set the option.

    ``wire`` holds the request body without model, messages, tools and stream, so that every field
    is preserved within one protocol. Unlike other elements, an edited Options keeps its ``wire``;
    the renderer overrides only the fields that differ from it.
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

    ``system`` is the instruction that a protocol has outside its messages (Messages ``system``,
    Responses ``instructions``). In Chat, system messages are in ``messages``. ``headers`` are the
    request headers that belong to the protocol (``anthropic-beta`` ...) with lower-case names;
    they are forwarded only to providers of the same protocol.

    Example::

        alone = Conversation((user("Is this a question about code?"),))
        asked = run.conversation.instructed("Answer in three sentences.").without_tool_use()
    """

    messages: tuple[Message, ...]
    system: Message | None = None
    tools: tuple[Tool, ...] = ()
    options: Options = Options()
    headers: tuple[tuple[str, str], ...] = ()

    def then(self, *messages: Message) -> "Conversation":
        """Return the conversation with ``messages`` appended. Raises TypeError for anything else.

        Example::

            asked = run.conversation.then(draft.message, user("Improve your answer."))
        """
        for message in messages:
            if not isinstance(message, Message):
                raise TypeError(
                    f"then() takes messages, not {type(message).__name__}. Write user(text), "
                    "reply.message, or then(*messages) for a list of messages."
                )
        return replace(self, messages=self.messages + messages)

    def instructed(self, text: str) -> "Conversation":
        """Return the conversation with ``text`` appended to its system instruction."""
        parts = self.system.parts if self.system else ()
        added = Text(f"\n\n{text}" if parts else text)
        return replace(self, system=Message("system", (*parts, added)))

    def offering(self, tools: Iterable[Tool]) -> "Conversation":
        """Return the conversation with ``tools`` added to the client's own."""
        return replace(self, tools=(*self.tools, *tools))

    def with_options(self, **changes: Any) -> "Conversation":
        """Return the conversation with the named options changed.

        Raises TypeError for an option that does not exist or has the wrong type.

        Example::

            asked = run.conversation.with_options(max_tokens=500, temperature=0)
        """
        for name, kind in (("format", OutputFormat), ("tool_choice", ToolChoice), ("stop", tuple)):
            if isinstance(changes.get(name), str):
                raise TypeError(f"the option {name!r} takes a value of {kind.__name__}, not text")
        return replace(self, options=self.options.edited(**changes))

    def without_tool_use(self) -> "Conversation":
        """Return the conversation changed so that the model cannot call tools.

        Providers reject tool calls in the messages without the tools' definitions. If there are
        such calls, the tools are kept and tool choice is "none"; otherwise they are removed.
        """
        if any(isinstance(part, ToolCall) for m in self.messages for part in m.parts):
            return self.with_options(tool_choice=ToolChoice("none"))
        bare = self.with_options(tool_choice=None, parallel_tool_calls=None)
        return replace(bare, tools=())

    @property
    def last_user_text(self) -> str:
        """The text of the newest user message that has text, or an empty string."""
        for message in reversed(self.messages):
            if message.role == "user" and message.text:
                return message.text
        return ""

    @property
    def opens_turn(self) -> bool:
        """Whether the newest message is a user message and not a tool's result."""
        # Agents put instructions after the user message (Claude Code: a last `system` message).
        turns = (m for m in reversed(self.messages) if m.role not in ("system", "developer"))
        newest = next(turns, None)
        if newest is None:
            return True
        return newest.role == "user" and not any(isinstance(p, ToolResult) for p in newest.parts)


def user(text: str) -> Message:
    """Return a user message with one text. Raises TypeError for anything but a text."""
    if not isinstance(text, str):
        raise TypeError(f"user() takes a text, not {type(text).__name__}. Write user(reply.text).")
    return Message("user", (Text(text),))


def assistant(*parts: Part) -> Message:
    """Return an assistant message of ``parts``."""
    return Message("assistant", parts)


def tool_result(call: ToolCall, text: str, *, is_error: bool = False) -> Message:
    """Return the message with ``text`` as the result of ``call``."""
    return Message("tool", (ToolResult(call.id, (Text(text),), is_error, call.kind),))
