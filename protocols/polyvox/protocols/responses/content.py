"""Parses and renders the content parts of Responses messages and tool results."""

from collections.abc import Callable
from typing import TypeVar

from polyvox.protocols.coverage.losses import element_losses, opaque_losses
from polyvox.workflows.conversation import (
    Audio,
    File,
    Image,
    Json,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Source,
    Text,
    Wire,
)
from polyvox.workflows.errors import ModelError

_Value = TypeVar("_Value")

_SUFFIX = {"application/pdf": "pdf", "text/plain": "txt", "text/markdown": "md", "text/csv": "csv"}


def invalid(message: str, param: str) -> ModelError:
    """Return the error for an ill-typed field at ``param``."""
    return ModelError("invalid_request", message, param=param)


def of_type(json: dict[str, Json], name: str, kind: type[_Value]) -> _Value | None:
    """Return the field ``name``, None if it is absent or null; raise for another type."""
    value = json.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise invalid(f"{name!r} must be of type {kind.__name__}, not {type(value).__name__}.", name)


def text_field(json: dict[str, Json], name: str, default: str | None = None) -> str:
    """Return the string field ``name``; without a default it is required."""
    value = of_type(json, name, str)
    if value is not None:
        return value
    if default is None:
        raise invalid(f"{name!r} is missing; it must be a string.", name)
    return default


def parse_content(json: Json, wire: Wire) -> Part:
    """Parse one content part with ``wire``; one of an unknown type becomes Opaque."""
    kind = json.get("type") if isinstance(json, dict) else None
    if not isinstance(kind, str):
        raise invalid("A content part must be an object with a 'type'.", "")
    parse = _PARSERS.get(kind)
    return parse(json, wire) if parse else Opaque(wire=wire)


def _parse_text(json: dict[str, Json], wire: Wire) -> Part:
    return Text(text_field(json, "text"), wire=wire)


def _parse_refusal(json: dict[str, Json], wire: Wire) -> Part:
    return Refusal(text_field(json, "refusal"), wire=wire)


def _parse_image(json: dict[str, Json], wire: Wire) -> Part:
    url, file_id = of_type(json, "image_url", str), of_type(json, "file_id", str)
    if url is None and file_id is None:
        raise invalid("An input_image needs 'image_url' or 'file_id'.", "image_url")
    source = Source(file_id=file_id) if url is None else parse_url(url)
    return Image(source, of_type(json, "detail", str), wire=wire)


def _parse_file(json: dict[str, Json], wire: Wire) -> Part:
    data, url = of_type(json, "file_data", str), of_type(json, "file_url", str)
    if data is not None:
        source = parse_url(data) if data.startswith("data:") else Source(data=data)
    elif url is not None:
        source = parse_url(url)
    else:
        source = Source(file_id=text_field(json, "file_id"))
    return File(source, of_type(json, "filename", str), wire=wire)


def _parse_audio(json: dict[str, Json], wire: Wire) -> Part:
    audio = of_type(json, "input_audio", dict)
    if audio is None:
        raise invalid("An input_audio needs an 'input_audio' object.", "input_audio")
    return Audio(text_field(audio, "data"), text_field(audio, "format"), wire=wire)


_PARSERS: dict[str, Callable[[dict[str, Json], Wire], Part]] = {
    "input_text": _parse_text,
    "output_text": _parse_text,
    "text": _parse_text,
    "refusal": _parse_refusal,
    "input_image": _parse_image,
    "input_file": _parse_file,
    "input_audio": _parse_audio,
}

CONTENT_TYPES = frozenset(_PARSERS)
"""The types that occur in a ``content`` list and never as an item."""


def parse_url(url: str) -> Source:
    """Return the data of a base64 ``data:`` URL, or the URL itself."""
    if url.startswith("data:"):
        head, comma, data = url[5:].partition(",")
        media_type, *parameters = head.split(";")
        if comma and "base64" in parameters:
            return Source(media_type=media_type or None, data=data)
    return Source(url=url)


def note_losses(part: Part, losses: list[str]) -> None:
    """Name what is left out of a part from another protocol, or the whole part."""
    if part.wire is not None and not isinstance(part, Opaque | Reasoning):
        losses.extend(element_losses(part.wire, "responses"))


def render_content(part: Part, role: Role, losses: list[str]) -> Json:
    """Render a part of ``role``'s content; None if it is left out and named in losses.

    Raises ModelError("unsupported") for audio that has no spelling here.
    """
    own = part.on_wire("responses")
    if own is not None:
        return own.get("part", own)
    note_losses(part, losses)
    match part:
        case Text(text):
            return {"type": "output_text" if role == "assistant" else "input_text", "text": text}
        case Refusal(text):
            return {"type": "refusal", "refusal": text}
        case Image() | File() if role == "assistant":
            losses.append(f"{type(part).__name__.lower()} in an assistant message")
            return None
        case Image(source, detail):
            return {"type": "input_image", "detail": detail or "auto", **_image_source(source)}
        case File(source, name):
            return {"type": "input_file", **_file_source(source, name)}
        case Audio():
            raise ModelError(
                "unsupported",
                "Audio input cannot be sent to a Responses model; use a Chat provider for it.",
                param="input_audio",
            )
        case _:
            losses.extend(opaque_losses(part.wire))
            return None


def _image_source(source: Source) -> dict[str, Json]:
    if source.file_id is not None:
        return {"file_id": source.file_id}
    return {"image_url": source.url or _data_url(source, "image/png")}


def _file_source(source: Source, name: str | None) -> dict[str, Json]:
    if source.file_id is not None:
        return {"file_id": source.file_id}
    if source.url is not None:
        return {"file_url": source.url}
    media_type = source.media_type or "application/pdf"
    # The API requires a file name with file data, and reads the type from its extension.
    filename = name or f"document.{_SUFFIX.get(media_type, 'txt')}"
    return {"filename": filename, "file_data": _data_url(source, media_type)}


def _data_url(source: Source, media_type: str) -> str:
    return f"data:{source.media_type or media_type};base64,{source.data or ''}"
