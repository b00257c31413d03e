"""Reads content parts that a client spelled as in another protocol.

Agents that speak several protocols mix them up: a Responses ``input_text`` or an Anthropic
``image`` in a Chat message. What such a part means is unambiguous, but the provider of the
request's own protocol refuses it, so the parser of a request writes it in its own protocol's
spelling. Besides the three protocols, the content of MCP's tool results is read.
"""

import base64
from collections.abc import Callable
from typing import Final

from polyvox.workflows.conversation import Audio, File, Image, Json, Part, Refusal, Source, Text
from polyvox.workflows.errors import ModelError

KEPT: Final = ("cache_control", "prompt_cache_breakpoint")
"""Members that mean the same on the part in its new spelling."""


def read_part(piece: dict[str, Json]) -> Part:
    """Return the part that ``piece``, for which ``is_read`` holds, stands for.

    Raises ModelError("invalid_request") if a member is missing or ill-typed: ``param`` is relative
    to the piece, and the message follows it.
    """
    return _READERS[piece["type"]](piece)


def source_of(url: str) -> Source:
    """Return the data of a base64 ``data:`` URL, or the URL itself."""
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return Source(head[len("data:") :].split(";", 1)[0] or None, data=data)
    return Source(url=url)


def _wrong(param: str, expected: str) -> ModelError:
    return ModelError("invalid_request", f"must be {expected}.", param=param)


def _string(json: dict[str, Json], name: str, at: str = "") -> str:
    value = json.get(name)
    if isinstance(value, str):
        return value
    raise _wrong(f"{at}{name}", "a string")


def _optional(json: dict[str, Json], name: str, at: str = "") -> str | None:
    return None if json.get(name) is None else _string(json, name, at)


def _object(json: dict[str, Json], name: str) -> dict[str, Json]:
    value = json.get(name)
    if isinstance(value, dict):
        return value
    raise _wrong(name, "an object")


def _media_type(json: dict[str, Json]) -> str | None:
    return _optional(json, "mimeType") or _optional(json, "media_type")


def _read_source(source: dict[str, Json]) -> Source:
    """Read the ``source`` of a Messages block."""
    match source.get("type"):
        case "base64":
            return Source(
                _optional(source, "media_type", "source."), data=_string(source, "data", "source.")
            )
        case "url":
            return Source(url=_string(source, "url", "source."))
        case "file":
            return Source(file_id=_string(source, "file_id", "source."))
        case "text":
            text = _string(source, "data", "source.")
            return Source("text/plain", data=base64.b64encode(text.encode()).decode())
        case _:
            raise _wrong("source.type", "base64, url, file or text")


def _read_image(piece: dict[str, Json]) -> Part:
    detail = _optional(piece, "detail")
    if "source" in piece:
        return Image(_read_source(_object(piece, "source")))
    if isinstance(piece.get("data"), str):
        return Image(Source(_media_type(piece), data=piece["data"]))
    for name in ("image", "url"):
        if isinstance(piece.get(name), str):
            return Image(source_of(piece[name]), detail)
    if piece.get("file_id") is not None and piece.get("image_url") is None:
        return Image(Source(file_id=_string(piece, "file_id")), detail)
    if isinstance(piece.get("image_url"), dict):
        inner = piece["image_url"]
        url = _string(inner, "url", "image_url.")
        return Image(source_of(url), detail or _optional(inner, "detail", "image_url."))
    return Image(source_of(_string(piece, "image_url")), detail)


def _read_file(piece: dict[str, Json]) -> Part:
    if "source" in piece:
        return File(_read_source(_object(piece, "source")), _optional(piece, "title"))
    file = _object(piece, "file") if piece["type"] == "file" else piece
    at = "file." if file is not piece else ""
    name = _optional(file, "filename", at)
    if file.get("file_id") is not None:
        return File(Source(file_id=_string(file, "file_id", at)), name)
    if file.get("file_url") is not None:
        return File(source_of(_string(file, "file_url", at)), name)
    data = _string(file, "file_data", at)
    is_url = data.startswith(("data:", "http://", "https://"))
    return File(source_of(data) if is_url else Source(data=data), name)


def _read_audio(piece: dict[str, Json]) -> Part:
    if piece["type"] == "audio":
        kind = _media_type(piece) or ""
        return Audio(_string(piece, "data"), kind.rpartition("/")[2].removeprefix("x-") or "wav")
    audio, at = _object(piece, "input_audio"), "input_audio."
    return Audio(_string(audio, "data", at), _string(audio, "format", at))


def _read_text(piece: dict[str, Json]) -> Part:
    return Text(_string(piece, "text"))


_READERS: Final[dict[str, Callable[[dict[str, Json]], Part]]] = {
    "text": _read_text,
    "input_text": _read_text,
    "output_text": _read_text,
    "refusal": lambda piece: Refusal(_string(piece, "refusal")),
    "image_url": _read_image,
    "input_image": _read_image,
    "image": _read_image,
    "file": _read_file,
    "input_file": _read_file,
    "document": _read_file,
    "input_audio": _read_audio,
    "audio": _read_audio,
}

_GENERAL: Final = {"image": ("data", "image", "url"), "audio": ("data",)}
"""Types that servers also use for parts of their own, and the members that show what is meant."""


def is_read(piece: Json) -> bool:
    """Whether ``read_part`` reads the piece, or refuses it as ill-typed."""
    kind = piece.get("type") if isinstance(piece, dict) else None
    if not isinstance(kind, str) or kind not in _READERS:
        return False
    shown_by = _GENERAL.get(kind)
    if shown_by is None or "source" in piece:
        return True
    return any(isinstance(piece.get(name), str) for name in shown_by)


def respelled(
    content: Json, is_foreign: Callable[[dict[str, Json]], bool], spell: Callable[[Part], Json]
) -> Json:
    """Return ``content`` with its foreign parts written by ``spell``; itself if there are none.

    ``is_foreign`` is asked about parts that can be read only. A part that ``spell`` returns
    None for stays as it is. Raises what ``read_part`` and ``spell`` raise, with the part's index
    and a dot before the ``param``.
    """
    if not isinstance(content, list):
        return content
    changed: dict[int, Json] = {}
    for at, piece in enumerate(content):
        if not is_read(piece) or not is_foreign(piece):
            continue
        try:
            spelled = spell(read_part(piece))
        except ModelError as error:
            error.param = f"{at}.{error.param}"
            raise
        if spelled is not None:
            changed[at] = {**spelled, **{name: piece[name] for name in KEPT if name in piece}}
    return [changed.get(at, piece) for at, piece in enumerate(content)] if changed else content
