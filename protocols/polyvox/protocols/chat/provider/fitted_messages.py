"""Adapts the messages of a Chat Completions request to the server that gets them.

Many servers apply a model's chat template, which raises an error for a second system message, for
roles that do not alternate, or for calls of a type that it does not know.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from polyvox.protocols.coverage.losses import lose
from polyvox.protocols.dialects.dialect import Dialect
from polyvox.protocols.dialects.final_turn import CONTINUE, NO_PREFILL
from polyvox.protocols.dialects.free_text import wrapped
from polyvox.protocols.history.later_instructions import LATER_INSTRUCTIONS, in_system_tags
from polyvox.workflows.conversation import Json

PLACEHOLDER: Final = " "
"""The thoughts of a message that another model wrote.

DeepSeek refuses an empty text and accepts this one; Kimi accepts any text that is not empty
(https://github.com/NousResearch/hermes-agent/pull/18263 and
https://github.com/openclaw/openclaw/pull/59689; read 2026-11-28).
"""

UNSIGNED: Final = "skip_thought_signature_validator"
"""The thought signature of a call that another model wrote, or whose own signature was lost.

Gemini's documentation gives this text for such calls; only the first call of a message needs one
(https://github.com/jeremychone/rust-genai/pull/115 and
https://github.com/intrafind/ihub-apps/pull/2240; read 2026-11-28).
"""

_Marked = tuple[Json, bool]
"""A message, and whether a client of Chat Completions wrote it."""

_THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_details")
_OF_MESSAGES: Final = frozenset(
    ("role", "content", "name", "tool_calls", "tool_call_id", "prefix", *_THOUGHTS)
)
_OF_CALLS: Final = frozenset(("id", "type", "index", "function", "custom"))
"""The members that every server knows, and Mistral's ``prefix``."""

_INSTRUCTING: Final = ("system", "developer")
_AFTER_RESULTS: Final = "I have the results."
_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NINE: Final = 9


def fit_messages(
    messages: list[Json],
    dialect: Dialect,
    losses: list[str],
    *,
    own: Sequence[bool],
    instruction: str | None = None,
) -> list[Json]:
    """Return ``messages`` as ``dialect`` accepts them; the argument is not changed.

    ``instruction`` is added to the system message. ``own`` says of each message whether a client of
    Chat Completions wrote it. Such a message is rewritten only where the server is known to refuse
    it, except for instructions and calls: those are rewritten for every server that is not known to
    take them. It is joined only with a neighbour that is not the client's.
    """
    fitted = [_fit_message(message, dialect, losses) for message in messages]
    if instruction is not None:
        fitted = _instructed(fitted, instruction)
        own = [*[False] * (len(fitted) - len(messages)), *own]
    marked = list(zip(fitted, own, strict=True))
    if dialect.instructions == "head":
        marked = _with_one_head(marked, losses)
    elif not dialect.developer:
        marked = [(_as_system(message), is_own) for message, is_own in marked]
    if not dialect.text_parts:
        marked = [(m if is_own else _as_text(m), is_own) for m, is_own in marked]
    fitted = list(_joined(marked)) if dialect.alternate else [m for m, _ in marked]
    if dialect.reply_after_results:
        fitted = list(_replied(fitted, dialect, losses))
    if not dialect.final_reply and _ends_with_reply(fitted):
        lose(losses, NO_PREFILL)
        fitted.append({"role": "user", "content": CONTINUE})
    return fitted


def _fit_message(message: Json, dialect: Dialect, losses: list[str]) -> Json:
    if not dialect.message_names and "name" in message and message.get("role") != "function":
        lose(losses, f"messages.name: {dialect.server} refuses it")
        message = {name: value for name, value in message.items() if name != "name"}
    if dialect.strict_messages:
        message = _without_further(message, dialect, losses)
    if message.get("role") == "tool":
        call_id = message.get("tool_call_id")
        fitted = fit_call_id(call_id, dialect)
        return message if fitted == call_id else {**message, "tool_call_id": fitted}
    if message.get("role") != "assistant":
        return message
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        fitted = [_fit_call(call, dialect) for call in calls]
        if dialect.signatures:
            fitted[0] = _signed(fitted[0])
        if fitted != calls:
            message = {**message, "tool_calls": fitted}
    return _fit_thoughts(message, dialect, losses)


def _without_further(message: Json, dialect: Dialect, losses: list[str]) -> Json:
    """Return ``message`` with the usual members only; those of thoughts are fitted elsewhere."""
    if isinstance(calls := message.get("tool_calls"), list):
        message = {**message, "tool_calls": [_only(call, _OF_CALLS) for call in calls]}
    further = message.keys() - _OF_MESSAGES
    for name in sorted(name for name in further if message[name]):
        lose(losses, f"messages.{name}: {dialect.server} refuses it")
    return _only(message, _OF_MESSAGES) if further else message


def _only(json: Json, names: frozenset[str]) -> Json:
    if not isinstance(json, dict):
        return json
    return {name: value for name, value in json.items() if name in names}


def _fit_call(call: Json, dialect: Dialect) -> Json:
    if not isinstance(call, dict):
        return call
    custom = call.get("custom")
    if call.get("type") == "custom" and isinstance(custom, dict) and not dialect.custom_tools:
        function = {"name": custom.get("name"), "arguments": wrapped(str(custom.get("input", "")))}
        rest = {name: value for name, value in call.items() if name != "custom"}
        call = {**rest, "type": "function", "function": function}
    fitted = fit_call_id(call.get("id"), dialect)
    return call if fitted == call.get("id") else {**call, "id": fitted}


def _signed(call: Json) -> Json:
    """Return ``call`` with a thought signature, its own or the one for calls without any."""
    if not isinstance(call, dict):
        return call
    extra = _members(call.get("extra_content"))
    google = _members(extra.get("google"))
    if google.get("thought_signature"):
        return call
    return {
        **call,
        "extra_content": {**extra, "google": {**google, "thought_signature": UNSIGNED}},
    }


def _members(json: Json) -> dict[str, Json]:
    return json if isinstance(json, dict) else {}


def fit_call_id(call_id: Json, dialect: Dialect) -> Json:
    """Return the id of a call, or of its result, in the shape that the server requires.

    The same id gives the same result, so nothing has to be stored.
    """
    if not isinstance(call_id, str):
        return call_id
    if dialect.call_ids == "nine_characters":
        right = len(call_id) == _NINE and call_id.isascii() and call_id.isalnum()
        return call_id if right else _digest(call_id)
    longest = dialect.longest_call_id
    if longest is None or len(call_id) <= longest:
        return call_id
    return f"{call_id[: longest - _NINE - 1]}_{_digest(call_id)}"


def _digest(text: str) -> str:
    number = int.from_bytes(sha256(text.encode(errors="surrogatepass")).digest())
    letters = []
    for _ in range(_NINE):
        number, at = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[at])
    return "".join(letters)


def _fit_thoughts(message: Json, dialect: Dialect, losses: list[str]) -> Json:
    if dialect.thoughts == "refused":
        if not any(name in message for name in _THOUGHTS):
            return message
        if any(message.get(name) for name in _THOUGHTS):
            lose(losses, f"reasoning_content: {dialect.server} refuses it")
        return {name: value for name, value in message.items() if name not in _THOUGHTS}
    wanted = dialect.thoughts
    missing = not any(message.get(name) for name in _THOUGHTS)
    if missing and (wanted == "always" or (wanted == "with_calls" and message.get("tool_calls"))):
        return {**message, "reasoning_content": PLACEHOLDER}
    return message


def _instructed(messages: list[Json], instruction: str) -> list[Json]:
    """Add ``instruction`` to the first message if that instructs, else put it first."""
    first = messages[0] if messages else {}
    if _instructs(first):
        content = _together([first.get("content"), instruction])
        return [{**first, "content": content}, *messages[1:]]
    return [{"role": "system", "content": instruction}, *messages]


def _with_one_head(messages: list[_Marked], losses: list[str]) -> list[_Marked]:
    """Join the leading instructions into one system message; later ones become user text.

    A later instruction keeps its place, but never stands between the results of one reply.
    """
    end = next((at for at, (m, _) in enumerate(messages) if not _instructs(m)), len(messages))
    fitted: list[_Marked] = []
    if end:
        head, is_own = messages[0]
        head = _as_system(head)
        if end > 1:
            head = {**head, "content": _together([m.get("content") for m, _ in messages[:end]])}
        fitted.append((head, is_own))
    held: list[_Marked] = []
    for message, is_own in messages[end:]:
        if _instructs(message):
            lose(losses, LATER_INSTRUCTIONS)
            held.append(({"role": "user", "content": _tagged(message.get("content"))}, False))
            continue
        if message.get("role") != "tool":
            fitted += held
            held = []
        fitted.append((message, is_own))
    return fitted + held


def _instructs(message: Json) -> bool:
    return message.get("role") in _INSTRUCTING


def _as_system(message: Json) -> Json:
    return {**message, "role": "system"} if message.get("role") == "developer" else message


def _tagged(content: Json) -> Json:
    if not isinstance(content, list):
        return in_system_tags(content or "")
    before, after = ({"type": "text", "text": tag} for tag in ("<system>", "</system>"))
    text = _text_of(content)
    return in_system_tags(text) if text is not None else [before, *content, after]


def _text_of(content: list[Json]) -> str | None:
    """Return the text of a list of text parts, None if it has other parts."""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    plain = all(isinstance(part, dict) and part.get("type") == "text" for part in content)
    if not plain or not all(isinstance(text, str) for text in texts):
        return None
    return "\n\n".join(str(text) for text in texts)


def _as_text(message: Json) -> Json:
    """Return ``message`` with a string as its content, if that is a list of texts."""
    content = message.get("content")
    text = _text_of(content) if isinstance(content, list) else None
    return message if text is None else {**message, "content": text}


def _together(contents: Sequence[Json]) -> Json:
    """Return the contents of several messages as one, a blank line between texts."""
    filled = [content for content in contents if content]
    if all(isinstance(content, str) for content in filled):
        return "\n\n".join(filled) if filled else contents[-1]
    return [part for content in filled for part in _parts(content)]


def _parts(content: Json) -> list[Json]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _joined(messages: list[_Marked]) -> Iterator[Json]:
    """Yield ``messages`` with neighbours of the user, and of the assistant, joined.

    Neighbours that the client all wrote itself stay apart.
    """
    group: list[_Marked] = []
    for message, is_own in messages:
        if group and not _continues(group[-1][0], message):
            yield from _one_message(group)
            group = []
        group.append((message, is_own))
    yield from _one_message(group)


def _one_message(marked: list[_Marked]) -> list[Json]:
    group = [message for message, _ in marked]
    if len(group) < 2 or all(is_own for _, is_own in marked):
        return group
    joined: dict[str, Json] = {}
    for message in group:
        joined.update(message)
    joined["content"] = _together([message.get("content") for message in group])
    thoughts = [t for m in group if (t := m.get("reasoning_content")) and t != PLACEHOLDER]
    if thoughts:
        joined["reasoning_content"] = _together(thoughts)
    return [joined]


def _continues(before: Json, message: Json) -> bool:
    role = message.get("role")
    if before.get("role") != role or role not in ("user", "assistant"):
        return False
    # Calls are followed by their results; a message of an end user may have a name.
    return not before.get("tool_calls") and before.get("name") == message.get("name")


def _ends_with_reply(messages: list[Json]) -> bool:
    """Whether the last message is the assistant's and not a prefix by the client's own word."""
    last = messages[-1] if messages else {}
    return last.get("role") == "assistant" and not last.get("prefix")


def _replied(messages: list[Json], dialect: Dialect, losses: list[str]) -> Iterator[Json]:
    """Yield ``messages`` with a reply of the assistant between results and a user message."""
    before: Json = None
    for message in messages:
        if before is not None and before.get("role") == "tool" and message.get("role") == "user":
            lose(losses, f"messages: {dialect.server} wants a reply after tool results")
            yield {"role": "assistant", "content": _AFTER_RESULTS}
        yield message
        before = message
