"""Reads the elements of Responses in neutral terms; see ``protocols.neutral``."""

from collections.abc import Iterator, Sequence
from typing import Final

from polyvox.protocols.neutral import (
    CacheMark,
    Citation,
    FurtherOptions,
    Neutral,
    element_type,
)
from polyvox.protocols.openai.annotations import listed, parse_responses_annotation
from polyvox.protocols.openai.cache_breakpoints import parse_mark
from polyvox.protocols.openai.shared_options import shared_options, user_of
from polyvox.protocols.responses.coverage import ROWS
from polyvox.protocols.responses.tools import is_spaced
from polyvox.workflows.conversation import Json


def _request(document: Json) -> FurtherOptions:
    return FurtherOptions(
        openai=shared_options(document),
        user=user_of(document),
        verbosity=(document.get("text") or {}).get("verbosity"),
        shows_thoughts=bool((document.get("reasoning") or {}).get("summary")),
    )


def _tool(json: Json) -> dict[str, Json]:
    members: dict[str, Json] = json["tool"] if "tool" in json and "namespace" in json else json
    return members


def _custom_format(json: Json) -> Json:
    return json.get("tool", json).get("format")


def _namespace(json: Json) -> tuple[str, str] | None:
    name = json["tool"].get("name") if is_spaced(json) else None
    return (json["namespace"]["name"], name) if isinstance(name, str) else None


def _part(json: Json) -> Json:
    return json.get("part", json)


def _element(json: Json) -> tuple[str, dict[str, Json]]:
    members: dict[str, Json] = _part(json)
    return str(members.get("type") or "function"), members


def _element_name(json: Json) -> str:
    part = json.get("part") if isinstance(json, dict) else None
    return element_type(part if isinstance(part, dict) else json)


def _citations(json: Json, _length: int) -> Iterator[Citation | None]:
    return map(parse_responses_annotation, listed(_part(json)))


def _cache_mark(json: Json) -> CacheMark | None:
    return parse_mark(_part(json))


def _part_path(json: Json, message: int | None, indexes: Sequence[int]) -> str | None:
    if len(indexes) == 1 and "part" not in json:
        return None  # an item
    if message is None:
        return f"instructions[{indexes[0]}]"
    member = "output" if len(indexes) > 1 else "content"
    return f"input[{message}].{member}[{indexes[-1]}]"


def _has_logprobs(json: Json) -> bool:
    return bool(_part(json).get("logprobs"))


def _ending_word(json: Json) -> str | None:
    word = (json.get("incomplete_details") or {}).get("reason")
    return word if isinstance(word, str) else None


NEUTRAL: Final = Neutral(
    rows=ROWS,
    request=_request,
    tool=_tool,
    custom_format=_custom_format,
    namespace=_namespace,
    element=_element,
    element_name=_element_name,
    citations=_citations,
    cache_mark=_cache_mark,
    part_path=_part_path,
    has_logprobs=_has_logprobs,
    ending_word=_ending_word,
    cites="everything",
    shows_logprobs=True,
)
