"""Labels media by their first bytes.

Claude refuses an image whose media type is not that of its bytes, and ``image/jpg``, which is not a
registered type. Clients send both: they take the type from a file's name or from a server's header.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from polyvox.protocols.history.elements import is_same, with_parts
from polyvox.protocols.history.spelling import Spelling
from polyvox.workflows.conversation import (
    File,
    Image,
    Message,
    Part,
    ToolResult,
    Wire,
)

_BEGINNING: Final = 64
"""Characters of base64 that hold the bytes looked at."""

_PDF: Final = "application/pdf"

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", _PDF),
)
_BRANDS: Final = {b"avif": "image/avif", b"heic": "image/heic", b"heix": "image/heic"}

_MEDIA: Final = (Image, File)

_ALIASES: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/jfif": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "application/x-pdf": _PDF,
}
"""Names that are not registered, and the registered ones (IANA media types)."""


def media_type_of(data: str, label: str | None) -> str | None:
    """Return the media type of base64 ``data``: that of its bytes, else the registered ``label``.

    White space, capitals and parameters of the label do not count.
    """
    if found := _sniffed(data):
        return found
    if label is None:
        return None
    plain = label.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain if plain != label else label)


def _sniffed(data: str) -> str | None:
    beginning = "".join(data[: 2 * _BEGINNING].split())[:_BEGINNING]
    try:
        head = base64.b64decode(beginning[: len(beginning) // 4 * 4], validate=True)
    except ValueError:  # not base64
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    return next((kind for begin, kind in _SIGNATURES if head.startswith(begin)), None)


def labelled(messages: Iterable[Message], spelling: Spelling) -> tuple[Message, ...]:
    """Return ``messages`` with the media types that the bytes have."""
    return tuple(
        with_parts(m, [_labelled(part, spelling) for part in m.parts], spelling)
        if _hold_media(m.parts)
        else m
        for m in messages
    )


def _hold_media(parts: Sequence[Part]) -> bool:
    for part in parts:
        if isinstance(part, ToolResult):
            if _hold_media(part.parts):
                return True
        elif isinstance(part, _MEDIA):
            return True
    return False


def _labelled(part: Part, spelling: Spelling) -> Part:
    match part:
        case Image(source=source) | File(source=source) if source.data is not None:
            kind = media_type_of(source.data, source.media_type)
            if kind in (None, source.media_type) or not (isinstance(part, Image) or kind == _PDF):
                return part
            wire, json = part.wire, part.on_wire(spelling.protocol)
            if json is not None and source.media_type is not None:
                wire = Wire(spelling.protocol, spelling.media(json, kind))
            return replace(part, source=replace(source, media_type=kind), wire=wire)
        case ToolResult(parts=parts):
            return _with_labelled_parts(part, parts, spelling)
        case _:
            return part


def _with_labelled_parts(
    result: ToolResult, parts: Sequence[Part], spelling: Spelling
) -> ToolResult:
    changed = [_labelled(part, spelling) for part in parts]
    if is_same(parts, changed):
        return result
    wire, json = result.wire, result.on_wire(spelling.protocol)
    if json is not None:
        elements = [part.on_wire(spelling.protocol) for part in changed]
        wire = Wire(spelling.protocol, spelling.contents(json, elements))
    return replace(result, parts=tuple(changed), wire=wire)
