"""Writes a Conversation's messages as the list that Chat Completions requires.

Chat requires one turn of the assistant in one message, the results of its tool calls in ``tool``
messages right after it, and media in ``user`` messages only. Messages from a Chat client are sent
unchanged; the others follow those three rules.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Final

from polyvox.protocols.chat.reasoning import without_sealed
from polyvox.protocols.coverage.losses import (
    LOST_REASONING,
    element_losses,
    lose,
    message_losses,
    opaque_losses,
)
from polyvox.protocols.openai.cache_breakpoints import UNMARKED, breakpoint_of
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import (
    Audio,
    Conversation,
    File,
    Image,
    Json,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    ToolResult,
)
from polyvox.workflows.errors import ModelError

Fragment = dict[str, Json]


def render_messages(
    conversation: Conversation, losses: list[str], *, marks: bool = False
) -> list[Json]:
    """Render all messages, the system instruction first; with ``marks``, cache marks too.

    Raises ModelError("unsupported", param=...) for media that Chat cannot point to.
    """
    transcript = _Transcript(losses, marks=marks)
    if conversation.system is not None:
        transcript.add(conversation.system)
    for message in conversation.messages:
        transcript.add(message)
    return transcript.close()


class _Transcript:
    """The messages so far, and the media that follow them."""

    def __init__(self, losses: list[str], *, marks: bool) -> None:
        self._losses = losses
        self._marks = marks
        self._messages: list[Json] = []
        self._turn: list[Fragment] = []
        self._turn_said = False
        self._shown: list[Fragment] = []

    def add(self, message: Message) -> None:
        verbatim = message.on_wire("chat")
        if verbatim is not None:
            self._settle(answering=message.role == "tool")
            self._messages.append(without_sealed(verbatim, self._losses))
        else:
            if message.wire is not None:
                for loss in message_losses(message.wire, "chat"):
                    lose(self._losses, loss)
            self._spread(message)

    def _spread(self, message: Message) -> None:
        if message.role == "assistant":
            self._show()
            self._speak(message.parts)
        else:
            self._say(message)

    def close(self) -> list[Json]:
        self._settle(answering=False)
        return self._messages

    def _speak(self, parts: Iterable[Part]) -> None:
        fragments = [f for p in parts if (f := self._render(p, "assistant"))]
        if self._turn_said and any(f.get("content") for f in fragments):
            # Two messages of one turn, as in Responses, become two paragraphs.
            fragments.insert(0, {"content": "\n\n"})
        self._turn_said = self._turn_said or any(f.get("content") for f in fragments)
        self._turn.extend(fragments)

    def _render(self, part: Part, role: str) -> Fragment | None:
        self._note(part)
        fragment = render_fragment(part, role, self._losses)
        if fragment is None or "content" not in fragment or part.on_wire("chat") is not None:
            return fragment
        mark = breakpoint_of(part)
        if mark is None:
            return fragment
        if not self._marks or role == "assistant":
            lose(self._losses, UNMARKED)
            return fragment
        content = fragment["content"]
        piece = {"type": "text", "text": content} if isinstance(content, str) else content[0]
        return {"content": [{**piece, "prompt_cache_breakpoint": mark}]}

    def _note(self, part: Part) -> None:
        """Name what is left out of a part from another protocol, or the whole part."""
        known = not isinstance(part, Opaque | Reasoning)
        if known and part.wire is not None and part.wire.protocol != "chat":
            for loss in element_losses(part.wire, "chat"):
                lose(self._losses, loss)

    def _say(self, message: Message) -> None:
        role = "user" if message.role == "tool" else message.role
        if role == "developer" and message.wire is not None:
            # Few servers besides OpenAI's know the role; "system" means the same to all of them.
            role = "system"
        others = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                self._settle(answering=True)
                self._answer(part)
            else:
                others.append(part)
        fragments = [f for p in others if (f := self._render(p, role))]
        if fragments or not message.parts:
            self._settle(answering=False)
            self._messages.append({"role": role, "content": "", **merge_fragments(fragments)})

    def _answer(self, result: ToolResult) -> None:
        whole = result.on_wire("chat")
        if whole is not None:
            self._messages.append(whole)
            return
        self._note(result)
        fragments, shown = [], []
        for part in result.parts:
            if isinstance(part, Image | File | Audio):
                shown.append(self._render(part, "user") or {})
            elif fragment := self._render(part, "tool"):
                fragments.append(fragment)
        if shown:
            pointer = {"content": f"Attached to the result of tool call {result.call_id}:"}
            self._shown.extend((pointer, *shown))
            if not fragments:
                fragments.append({"content": "The result follows in the next user message."})
        content = merge_fragments(fragments).get("content", "")
        if result.is_error:
            content = _as_error(content)
        self._messages.append({"role": "tool", "tool_call_id": result.call_id, "content": content})

    def _settle(self, *, answering: bool) -> None:
        if self._turn:
            members = merge_fragments(self._turn, joined=True)
            self._messages.append({"role": "assistant", "content": None, **members})
            self._turn, self._turn_said = [], False
        if not answering:
            self._show()

    def _show(self) -> None:
        if self._shown:
            self._messages.append({"role": "user", **merge_fragments(self._shown)})
            self._shown = []


def _as_error(content: Json) -> Json:
    # Only Messages has a flag for a failed tool; in other protocols its text says so.
    if isinstance(content, list):
        return [{"type": "text", "text": "Error:"}, *content]
    return content if content.startswith("Error") else f"Error: {content}"


def merge_fragments(fragments: Iterable[Fragment], *, joined: bool = False) -> Fragment:
    """Merge fragments into the members of one message.

    Several plain texts become text parts, or one string if ``joined``: many compatible servers
    accept only a string in assistant messages.
    """
    gathered: dict[str, list[Json]] = {}
    contents: list[Json] = []
    for fragment in fragments:
        for name, value in fragment.items():
            if name == "content":
                contents.append(value)
            elif isinstance(value, str | list) and type(value) is type(gathered.get(name, [0])[-1]):
                gathered[name].append(value)
            else:
                gathered[name] = [value]
    merged = {name: _together(values) for name, values in gathered.items()}
    if contents:
        merged["content"] = _content(contents, joined=joined)
    return merged


def _together(values: list[Json]) -> Json:
    """Return texts as one text and lists as one new list; fragments are shared."""
    if len(values) == 1:
        return values[0]
    return "".join(values) if isinstance(values[0], str) else [item for v in values for item in v]


def _content(contents: list[Json], *, joined: bool) -> Json:
    plain = all(isinstance(content, str) for content in contents)
    if plain and (joined or len(contents) == 1):
        return "".join(contents)
    pieces: list[Json] = []
    for content in contents:
        if isinstance(content, list):
            pieces.extend(content)
        elif content:
            pieces.append({"type": "text", "text": content})
    return pieces


def render_fragment(part: Part, role: str, losses: list[str]) -> Fragment | None:
    """Render ``part`` as a fragment of a message of ``role``, or name the loss."""
    own: Fragment | None = part.on_wire("chat")
    foreign = isinstance(part, Reasoning) and part.origin != "chat"
    if own is not None and not foreign:
        return own
    render = _FRAGMENTS.get((type(part), role)) or _FRAGMENTS.get((type(part), "any"))
    if isinstance(part, Opaque):
        for loss in opaque_losses(part.wire):
            lose(losses, loss)
        return None
    if render is None:
        lose(losses, f"{type(part).__name__.lower()} in {role} message")
        return None
    return render(part, losses)


def _render_reasoning(part: Reasoning, losses: list[str]) -> Fragment | None:
    if part.origin == "chat":
        return {"reasoning_content": part.text}
    lose(losses, LOST_REASONING)
    return None


def _render_image(part: Image, losses: list[str]) -> Fragment:
    image = {"url": _url(part.source, "image")}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"content": [{"type": "image_url", "image_url": image}]}


def _url(source: Source, noun: str) -> str:
    if source.data is not None:
        return f"data:{source.media_type or 'application/octet-stream'};base64,{source.data}"
    if source.url is not None:
        return source.url
    raise ModelError(
        "unsupported",
        f"Chat Completions cannot take the {noun} stored as file {source.file_id!r}. "
        "Send its data or a URL instead.",
        param="messages",
    )


def _render_file(part: File, losses: list[str]) -> Fragment:
    source = part.source
    if source.file_id is not None:
        file = {"file_id": source.file_id}
    elif source.data is None:
        raise ModelError(
            "unsupported",
            f"Chat Completions cannot fetch the file at {source.url!r}. Send its data instead.",
            param="messages",
        )
    elif source.media_type is not None and source.media_type.startswith("text/"):
        title = f"{part.name}:\n" if part.name else ""
        return {"content": title + _decoded(source.data)}
    else:
        file = {"file_data": _url(source, "file")}
        # OpenAI refuses data without a file name.
        file["filename"] = part.name or "file"
    if part.name is not None:
        file["filename"] = part.name
    return {"content": [{"type": "file", "file": file}]}


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError:  # not base64, not ASCII, or not UTF-8 inside
        return data


def _render_audio(part: Audio, losses: list[str]) -> Fragment:
    audio = {"data": part.data, "format": part.format}
    return {"content": [{"type": "input_audio", "input_audio": audio}]}


def _render_tool_call(part: ToolCall, losses: list[str]) -> Fragment:
    return call_fragment(part, offered_name(part.name, part.namespace))


def call_fragment(part: ToolCall, name: str) -> Fragment:
    """Return the fragment for a call of the tool that is called ``name`` here."""
    grown = "arguments" if part.kind == "function" else "input"
    definition = {"name": name, grown: part.arguments}
    return {"tool_calls": [{"id": part.id, "type": part.kind, part.kind: definition}]}


_FRAGMENTS: Final[dict[tuple[type, str], Callable[[Json, list[str]], Fragment | None]]] = {
    (Text, "any"): lambda part, losses: {"content": part.text},
    (Refusal, "assistant"): lambda part, losses: {"refusal": part.text},
    (Reasoning, "assistant"): _render_reasoning,
    (ToolCall, "assistant"): _render_tool_call,
    (Image, "user"): _render_image,
    (File, "user"): _render_file,
    (Audio, "user"): _render_audio,
}
