"""Reads the elements of Messages in neutral terms; see ``protocols.neutral``.

Citations: ``anthropic.types`` (``TextCitation``).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from polyvox.protocols.messages.cache_control import parse_mark
from polyvox.protocols.messages.coverage import ROWS
from polyvox.protocols.neutral import Citation, FurtherOptions, Neutral
from polyvox.workflows.conversation import Json

_STORED: Final = ("file_id", "url")
"""Members of a source that other protocols may not accept."""


def _request(document: Json) -> FurtherOptions:
    metadata, thinking = document.get("metadata"), document.get("thinking") or {}
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    thinks = thinking.get("type") in ("adaptive", "enabled", "between_tools")
    return FurtherOptions(
        user=user if isinstance(user, str) else None,
        standard_tier=document.get("service_tier") == "standard_only",
        shows_thoughts=thinks and thinking.get("display") != "omitted",
    )


def _element(json: Json) -> tuple[str, dict[str, Json]]:
    members: dict[str, Json] = json
    if isinstance(source := json.get("source"), dict):
        members = {**json, **{name: source[name] for name in _STORED if name in source}}
    return str(members.get("type") or "function"), members


def _citations(json: Json, length: int) -> Iterator[Citation | None]:
    found = json.get("citations") if isinstance(json, dict) else None
    for citation in found if isinstance(found, list) else ():
        if isinstance(citation, dict) and (read := _CITATIONS.get(str(citation.get("type")))):
            yield read(citation, length)


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


_CITATIONS: Final[dict[str, Callable[[dict[str, Json], int], Citation]]] = {
    "web_search_result_location": _of_page,
    "search_result_location": _of_search_result,
    "char_location": _of_document,
    "page_location": _of_document,
    "content_block_location": _of_document,
}


def _string(json: dict[str, Json], name: str) -> str:
    value = json.get(name)
    return value if isinstance(value, str) else ""


def _part_path(_json: Json, message: int | None, indexes: Sequence[int]) -> str:
    head = "system" if message is None else f"messages.{message}.content"
    return f"{head}.{'.content.'.join(map(str, indexes))}"


def _ending_word(json: Json) -> str | None:
    delta = json.get("delta")
    return (delta.get("stop_reason") or "") if isinstance(delta, dict) else None


NEUTRAL: Final = Neutral(
    rows=ROWS,
    ending_word=_ending_word,
    request=_request,
    element=_element,
    citations=_citations,
    cache_mark=parse_mark,
    part_path=_part_path,
    cites_by_block=True,
    continues_answers=True,
)
