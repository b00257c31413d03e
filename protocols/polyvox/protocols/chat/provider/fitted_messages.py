"""Adapts the messages of a Chat Completions request to the server that gets them.

Many servers apply a model's chat template, which raises an error for a second system message, for
roles that do not alternate, or for calls of a type that it does not know.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from polyvox.protocols.coverage.losses import lose
from polyvox.protocols.dialects.dialect import Dialect
from polyvox.protocols.dialects.free_text import wrapped
from polyvox.protocols.history.later_instructions import LATER_INSTRUCTIONS, in_system_tags
from polyvox.workflows.conversation import Json

PLACEHOLDER: Final = " "
"""The thoughts of a message that another model wrote.

DeepSeek refuses an empty text and accepts this one; Kimi accepts any text that is not empty
(https://github.com/NousResearch/hermes-agent/pull/18263 and
https://github.com/openclaw/openclaw/pull/59689; read 2026-11-28).
"""

_THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_details")
_INSTRUCTING: Final = ("system", "developer")
_AFTER_RESULTS: Final = "I have the results."
_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NINE: Final = 9


def fit_messages(
    messages: list[Json],
    dialect: Dialect,
    losses: list[str],
    *,
    own: bool,
    instruction: str | None = None,
) -> list[Json]:
    """Return ``messages`` as ``dialect`` accepts them; the argument is not changed.

    ``instruction`` is added to the system message. ``own`` messages of a client of Chat Completions
    are rewritten only where the server is known to refuse them, except for instructions and calls:
    those are rewritten for every server that is not known to take them. They are joined only if an
    instruction has become a user message among them.
    """
    fitted = [_fit_message(message, dialect, losses) for message in messages]
    if instruction is not None:
        fitted = _instructed(fitted, instruction)
    added = False
    if dialect.instructions == "head":
        added = any(_instructs(message) for message in fitted[_head(fitted) :])
        fitted = _with_one_head(fitted, losses)
    elif not dialect.developer:
        fitted = [_as_system(message) for message in fitted]
    if not dialect.text_parts and not own:
        fitted = [_as_text(message) for message in fitted]
    if dialect.alternate and (added or not own):
        fitted = list(_joined(fitted))
    if dialect.reply_after_results:
        fitted = list(_replied(fitted, dialect, losses))
    return fitted


def _fit_message(message: Json, dialect: Dialect, losses: list[str]) -> Json:
    if not dialect.message_names and "name" in message and message.get("role") != "function":
        lose(losses, f"messages.name: {dialect.server} refuses it")
        message = {name: value for name, value in message.items() if name != "name"}
    if message.get("role") == "tool":
        call_id = message.get("tool_call_id")
        fitted = fit_call_id(call_id, dialect)
        return message if fitted == call_id else {**message, "tool_call_id": fitted}
    if message.get("role") != "assistant":
        return message
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        fitted = [_fit_call(call, dialect) for call in calls]
        if fitted != calls:
            message = {**message, "tool_calls": fitted}
    return _fit_thoughts(message, dialect, losses)


def _fit_call(call: Json, dialect: Dialect) -> Json:
    if not isinstance(call, dict):
        return call
    custom = call.get("custom")
    if call.get("type") == "custom" and isinstance(custom, dict) and not dialect.custom_tools:
        said = {"name": custom.get("name"), "arguments": wrapped(str(custom.get("input", "")))}
        rest = {name: value for name, value in call.items() if name != "custom"}
        call = {**rest, "type": "function", "function": said}
    fitted = fit_call_id(call.get("id"), dialect)
    return call if fitted == call.get("id") else {**call, "id": fitted}


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


def _with_one_head(messages: list[Json], losses: list[str]) -> list[Json]:
    """Join the leading instructions into one system message; later ones become user text.

    A later instruction keeps its place, but never stands between the results of one reply.
    """
    end = _head(messages)
    fitted: list[Json] = []
    if end:
        head = _as_system(messages[0])
        if end > 1:
            head = {**head, "content": _together([m.get("content") for m in messages[:end]])}
        fitted.append(head)
    held: list[Json] = []
    for message in messages[end:]:
        if _instructs(message):
            lose(losses, LATER_INSTRUCTIONS)
            held.append({"role": "user", "content": _tagged(message.get("content"))})
            continue
        if message.get("role") != "tool":
            fitted += held
            held = []
        fitted.append(message)
    return fitted + held


def _instructs(message: Json) -> bool:
    return message.get("role") in _INSTRUCTING


def _head(messages: list[Json]) -> int:
    """Return the number of leading instructions."""
    return next((at for at, m in enumerate(messages) if not _instructs(m)), len(messages))


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
    said = [content for content in contents if content]
    if all(isinstance(content, str) for content in said):
        return "\n\n".join(said) if said else contents[-1]
    return [part for content in said for part in _parts(content)]


def _parts(content: Json) -> list[Json]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _joined(messages: list[Json]) -> Iterator[Json]:
    """Yield ``messages`` with neighbours of the user, and of the assistant, joined."""
    group: list[Json] = []
    for message in messages:
        if group and not _continues(group[-1], message):
            yield _one_message(group)
            group = []
        group.append(message)
    if group:
        yield _one_message(group)


def _one_message(group: list[Json]) -> Json:
    if len(group) == 1:
        return group[0]
    joined: dict[str, Json] = {}
    for message in group:
        joined.update(message)
    joined["content"] = _together([message.get("content") for message in group])
    thoughts = [t for m in group if (t := m.get("reasoning_content")) and t != PLACEHOLDER]
    if thoughts:
        joined["reasoning_content"] = _together(thoughts)
    return joined


def _continues(before: Json, message: Json) -> bool:
    role = message.get("role")
    if before.get("role") != role or role not in ("user", "assistant"):
        return False
    # Calls are followed by their results; a message of an end user may have a name.
    return not before.get("tool_calls") and before.get("name") == message.get("name")


def _replied(messages: list[Json], dialect: Dialect, losses: list[str]) -> Iterator[Json]:
    """Yield ``messages`` with a reply of the assistant between results and a user message."""
    before: Json = None
    for message in messages:
        if before is not None and before.get("role") == "tool" and message.get("role") == "user":
            lose(losses, f"messages: {dialect.server} wants a reply after tool results")
            yield {"role": "assistant", "content": _AFTER_RESULTS}
        yield message
        before = message
