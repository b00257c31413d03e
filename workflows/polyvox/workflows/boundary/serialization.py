"""Our values as JSON documents: what travels through Temporal and lies in the blob store.

A value becomes an object with its class name under ``type`` and its fields that differ from their
defaults, so histories stay small and readable in the Web UI, and a field added later has its
default when an old document is loaded. A class name in a document is therefore a stored format:
renaming a class needs its old name kept in the table.
"""

from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any

from polyvox.workflows import conversation, reply
from polyvox.workflows.boundary import calls
from polyvox.workflows.conversation import Json

_CLASSES: tuple[type, ...] = (
    conversation.Wire,
    conversation.Text,
    conversation.Refusal,
    conversation.Source,
    conversation.Image,
    conversation.File,
    conversation.Audio,
    conversation.Reasoning,
    conversation.ToolCall,
    conversation.ToolResult,
    conversation.Opaque,
    conversation.Message,
    conversation.Tool,
    conversation.ToolChoice,
    conversation.OutputFormat,
    conversation.Options,
    reply.Usage,
    reply.Reply,
    calls.Span,
    calls.ConversationRef,
    calls.ModelCall,
    calls.HiddenTurn,
    calls.ToolUse,
    calls.Memo,
    calls.ProgressPart,
    calls.Limits,
    calls.RunInput,
)

# Fields that hold somebody else's JSON: never looked into, whatever keys it has.
_FOREIGN = {"json", "parameters", "schema", "params"}

# Names that classes had before, as histories and stored documents still hold them.
_FORMER: dict[str, type] = {"Hidden": calls.HiddenTurn, "Shown": calls.ProgressPart}

_BY_NAME = _FORMER | {cls.__name__: cls for cls in _CLASSES}


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING


_FIELDS: dict[type, tuple[tuple[str, Any, bool], ...]] = {
    cls: tuple((f.name, _default(f), f.name in _FOREIGN) for f in fields(cls)) for cls in _CLASSES
}


def dump(value: Any) -> Json:
    """Return ``value`` (one of our values, a tuple of them, or plain JSON) as a document."""
    known = _FIELDS.get(type(value))
    if known is None:
        return [dump(item) for item in value] if isinstance(value, tuple | list) else value
    document: dict[str, Json] = {"type": type(value).__name__}
    for name, default, foreign in known:
        content = getattr(value, name)
        if content is default or (default is not MISSING and content == default):
            continue
        document[name] = content if foreign else dump(content)
    return document


def load(document: Json) -> Any:
    """Return the value that ``dump`` made ``document`` of. Lists come back as tuples."""
    if isinstance(document, list):
        return _all(document)
    if not isinstance(document, dict):
        return document
    cls = _BY_NAME.get(document.get("type", ""))
    if cls is None:
        return document
    return cls(
        **{
            name: document[name] if foreign else load(document[name])
            for name, _, foreign in _FIELDS[cls]
            if name in document
        }
    )


def _all(documents: Iterable[Json]) -> tuple[Any, ...]:
    return tuple(load(item) for item in documents)
