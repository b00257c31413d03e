"""What a text of an answer cites, from any protocol to the annotations of OpenAI's two.

Messages cites block by block: each cited span is a text block of its own, with the citations in it.
OpenAI's protocols annotate a longer text with offsets. So a Messages citation becomes an annotation
of the whole text of its part. The other way there is none: what Messages calls a citation of the
web has an ``encrypted_index`` that only its own provider can write.

Formats: ``openai.types.responses.response_output_text``, ``openai.types.chat`` (``Annotation``) and
``anthropic.types`` (``TextCitation``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from polyvox.workflows.conversation import Json, Text


@dataclass(frozen=True, slots=True)
class Citation:
    """A page (``url``) or a document (``file_id``, ``title``) cited by a span of a text.

    ``start`` (included) and ``end`` (excluded) count characters in the text of the part.
    """

    title: str
    start: int
    end: int
    url: str | None = None
    file_id: str = ""


def citations_of(part: Text) -> list[Citation]:
    """Return what ``part`` cites; what is not understood is left out."""
    if part.wire is None:
        return []
    said, found = part.wire.json, list[Citation | None]()
    match part.wire.protocol:
        case "messages":
            found = [_of_messages(c, len(part.text)) for c in _listed(said, "citations")]
        case "responses":
            found = [_of_responses(a) for a in _listed(said.get("part", said), "annotations")]
        case "chat":
            found = [_of_chat(a) for a in _listed(said, "annotations")]
    return [citation for citation in found if citation is not None]


def responses_annotations(citations: list[Citation]) -> list[Json]:
    """Return the ``annotations`` of an ``output_text``."""
    return [_file(c) if c.url is None else {"type": "url_citation", **_page(c)} for c in citations]


def chat_annotations(citations: list[Citation], offset: int) -> list[Json]:
    """Return the ``annotations`` of a message in which the text begins at ``offset``.

    Chat annotates pages only.
    """
    return [
        {"type": "url_citation", "url_citation": _page(c, offset)}
        for c in citations
        if c.url is not None
    ]


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


def _of_messages(json: Json, length: int) -> Citation | None:
    read = _MESSAGES.get(str(json.get("type"))) if isinstance(json, dict) else None
    return None if read is None else read(json, length)


def _of_page(json: dict[str, Json], length: int) -> Citation:
    return Citation(_string(json, "title"), 0, length, url=_string(json, "url"))


def _of_search_result(json: dict[str, Json], length: int) -> Citation:
    source, title = _string(json, "source"), _string(json, "title")
    if source.startswith(("http://", "https://")):
        return Citation(title, 0, length, url=source)
    return Citation(title or source, 0, length)


def _of_document(json: dict[str, Json], length: int) -> Citation:
    file_id = _string(json, "file_id")
    return Citation(_string(json, "document_title"), 0, length, file_id=file_id)


_MESSAGES: Final[dict[str, Callable[[dict[str, Json], int], Citation]]] = {
    "web_search_result_location": _of_page,
    "search_result_location": _of_search_result,
    "char_location": _of_document,
    "page_location": _of_document,
    "content_block_location": _of_document,
}


def _of_responses(json: Json) -> Citation | None:
    if not isinstance(json, dict):
        return None
    match json.get("type"):
        case "url_citation":
            return _annotated(json)
        case "file_citation":
            at = _number(json, "index")
            return Citation(_string(json, "filename"), at, at, file_id=_string(json, "file_id"))
        case _:
            return None


def _of_chat(json: Json) -> Citation | None:
    said = json.get("url_citation") if isinstance(json, dict) else None
    return _annotated(said) if isinstance(said, dict) else None


def _annotated(json: dict[str, Json]) -> Citation:
    return Citation(
        _string(json, "title"),
        _number(json, "start_index"),
        _number(json, "end_index"),
        url=_string(json, "url"),
    )


def _listed(json: Json, name: str) -> list[Json]:
    value = json.get(name) if isinstance(json, dict) else None
    return value if isinstance(value, list) else []


def _string(json: dict[str, Json], name: str) -> str:
    value = json.get(name)
    return value if isinstance(value, str) else ""


def _number(json: dict[str, Json], name: str) -> int:
    value = json.get(name)
    return value if isinstance(value, int) else 0
