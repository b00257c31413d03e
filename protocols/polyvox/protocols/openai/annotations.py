"""The annotations of a text, whose formats in Chat Completions and Responses are nearly equal.

Formats: ``openai.types.responses.response_output_text`` and ``openai.types.chat`` (``Annotation``).
"""

from collections.abc import Iterable

from polyvox.protocols.neutral import Citation
from polyvox.workflows.conversation import Json


def parse_responses_annotation(json: Json) -> Citation | None:
    """Parse an annotation of an ``output_text``."""
    if not isinstance(json, dict):
        return None
    match json.get("type"):
        case "url_citation":
            return _parse_page(json)
        case "file_citation":
            at = _number(json, "index")
            return Citation(_string(json, "filename"), at, at, file_id=_string(json, "file_id"))
        case _:
            return None


def parse_chat_annotation(json: Json) -> Citation | None:
    """Parse an annotation of a Chat message."""
    cited = json.get("url_citation") if isinstance(json, dict) else None
    return _parse_page(cited) if isinstance(cited, dict) else None


def responses_annotations(citations: Iterable[Citation]) -> list[Json]:
    """Return the ``annotations`` of an ``output_text``."""
    return [_file(c) if c.url is None else {"type": "url_citation", **_page(c)} for c in citations]


def chat_annotations(citations: Iterable[Citation], offset: int) -> list[Json]:
    """Return the ``annotations`` of a message in which the text begins at ``offset``.

    Chat annotates pages only.
    """
    return [
        {"type": "url_citation", "url_citation": _page(c, offset)}
        for c in citations
        if c.url is not None
    ]


def listed(json: Json) -> list[Json]:
    """Return the ``annotations`` of an element, [] if it does not have a list of them."""
    value = json.get("annotations") if isinstance(json, dict) else None
    return value if isinstance(value, list) else []


def _parse_page(json: dict[str, Json]) -> Citation:
    return Citation(
        _string(json, "title"),
        _number(json, "start_index"),
        _number(json, "end_index"),
        url=_string(json, "url"),
    )


def _page(citation: Citation, offset: int = 0) -> dict[str, Json]:
    return {
        "url": citation.url,
        "title": citation.title,
        "start_index": citation.start + offset,
        "end_index": citation.end + offset,
    }


def _file(citation: Citation) -> Json:
    return {
        "type": "file_citation",
        "file_id": citation.file_id,
        "filename": citation.title,
        "index": citation.end,
    }


def _string(json: dict[str, Json], name: str) -> str:
    value = json.get(name)
    return value if isinstance(value, str) else ""


def _number(json: dict[str, Json], name: str) -> int:
    value = json.get(name)
    return value if isinstance(value, int) else 0
