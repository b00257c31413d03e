"""Reads Chat's elements in neutral terms; see ``protocols.neutral``."""

from collections.abc import Iterator, Sequence
from typing import Final

from polyvox.protocols.chat.coverage import ROWS
from polyvox.protocols.neutral import CacheMark, Citation, FurtherOptions, Neutral
from polyvox.protocols.openai.annotations import listed, parse_chat_annotation
from polyvox.protocols.openai.cache_breakpoints import parse_mark
from polyvox.protocols.openai.shared_options import shared_options, user_of
from polyvox.workflows.conversation import Json

_SHOWN: Final = frozenset(
    (
        *("role", "content", "refusal", "annotations", "tool_calls", "function_call"),
        *("reasoning_content", "reasoning", "reasoning_details"),
    )
)
"""Members of a message that its parts hold or whose loss its parts report."""


def _request(document: Json) -> FurtherOptions:
    wanted = bool(document.get("logprobs"))
    return FurtherOptions(
        openai=shared_options(document),
        user=user_of(document),
        metadata=document.get("metadata"),
        verbosity=document.get("verbosity"),
        top_logprobs=(document.get("top_logprobs") or 0) if wanted else None,
    )


def _tool(json: Json) -> dict[str, Json]:
    members: dict[str, Json] = json[json.get("type", "function")]
    return members


def _custom_format(json: Json) -> Json:
    custom = json.get("custom")
    form = custom.get("format") if isinstance(custom, dict) else None
    grammar = form.get("grammar") if isinstance(form, dict) else None
    return {"type": "grammar", **grammar} if isinstance(grammar, dict) else form


def _element(json: Json) -> tuple[str, dict[str, Json]]:
    pieces = json.get("content") or json.get("tool_calls")
    if not isinstance(pieces, list):
        return "", {}
    piece = pieces[0]
    inner = piece.get(str(piece.get("type")))
    members = {**piece, **inner} if isinstance(inner, dict) else piece
    return str(members.get("type") or "function"), members


def _element_name(json: Json) -> str:
    if not isinstance(json, dict):
        return "content"
    first = _first(json)
    piece = first if isinstance(first, dict) else json
    return str(piece.get("type") or next(iter(piece), "content"))


def _first(json: Json) -> Json:
    content = json.get("content")
    return content[0] if isinstance(content, list) and content else None


def _citations(json: Json, _length: int) -> Iterator[Citation | None]:
    return map(parse_chat_annotation, listed(json))


def _cache_mark(json: Json) -> CacheMark | None:
    return parse_mark(_first(json))


def _part_path(json: Json, message: int | None, indexes: Sequence[int]) -> str | None:
    return f"messages[{message}].content[{indexes[-1]}]" if "content" in json else None


def _unshown(json: Json) -> Iterator[str]:
    return (member for member, value in json.items() if member not in _SHOWN and value)


def _ends_with_logprobs(json: Json) -> bool:
    return bool((json.get("choices") or [{}])[0].get("logprobs"))


def _ending_word(json: Json) -> str | None:
    choices = json.get("choices")
    return (choices[0].get("finish_reason") or "") if choices else None


NEUTRAL: Final = Neutral(
    rows=ROWS,
    request=_request,
    tool=_tool,
    custom_format=_custom_format,
    element=_element,
    element_name=_element_name,
    citations=_citations,
    cache_mark=_cache_mark,
    part_path=_part_path,
    unshown=_unshown,
    ends_with_logprobs=_ends_with_logprobs,
    ending_word=_ending_word,
    cites="pages",
    shows_logprobs=True,
)
