"""Converts Polyvox's values to JSON documents for Temporal and the blob store.

A value becomes an object with its class name under ``type`` and the fields that differ from their
defaults. Histories stay small and readable in the Web UI, and a field added later has its default
when an old document is loaded. Class names are part of the stored format: when a class is renamed,
its old name must stay in the table.
"""

import json
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

# Fields that hold arbitrary JSON, which is not converted whatever keys it has.
_FOREIGN = {"json", "parameters", "schema", "params"}

# Former names of classes, which histories and stored documents still contain.
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
    """Return ``value`` (a Polyvox value, a tuple of them, or plain JSON) as a document."""
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


def as_json(fact: Json) -> Json:
    """Return ``fact``, or its text if it is not JSON."""
    try:
        json.dumps(fact)
    except (TypeError, ValueError, RecursionError):
        return str(fact)
    return fact
