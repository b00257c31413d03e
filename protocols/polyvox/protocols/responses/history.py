"""How Responses spells the calls, results and media of a history."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from polyvox.protocols.history.spelling import Spelling
from polyvox.workflows.conversation import Json

LONGEST_ID: Final = 64
"""Characters of a ``call_id`` (OpenAI's API reference, input items, November 2026)."""

_DIGEST: Final = 12


def _call(item: Json, call_id: str, arguments: str) -> Json:
    member = "input" if item["type"] == "custom_tool_call" else "arguments"
    if item.get("call_id") == call_id and item.get(member) == arguments:
        return item
    return {**item, "call_id": call_id, member: arguments}


def _result(item: Json, call_id: str) -> Json:
    return item if item.get("call_id") == call_id else {**item, "call_id": call_id}


def _contents(item: Json, parts: Sequence[Json]) -> Json:
    return {**item, "output": [*parts]}


def _media(element: Json, media_type: str) -> Json:
    if "part" in element:
        return {**element, "part": _media(element["part"], media_type)}
    member = "image_url" if element["type"] == "input_image" else "file_data"
    data = element[member].partition(",")[2] or element[member]
    return {**element, member: f"data:{media_type};base64,{data}"}


def _message(item: Json, elements: Sequence[Json | None]) -> Json | None:
    if item.get("type", "message") != "message":
        return elements[0] if len(elements) == 1 else None
    contents = [element["part"] for element in elements if element and "part" in element]
    return {**item, "content": contents} if len(contents) == len(elements) else None


def _call_id(call_id: str) -> str:
    if len(call_id) <= LONGEST_ID:
        return call_id
    digest = sha256(call_id.encode()).hexdigest()[:_DIGEST]
    return f"{call_id[: LONGEST_ID - _DIGEST - 1]}_{digest}"


SPELLING: Final = Spelling(
    protocol="responses",
    call=_call,
    result=_result,
    contents=_contents,
    media=_media,
    message=_message,
    call_id=_call_id,
    longest_id=LONGEST_ID,
    hiding=frozenset(("item_reference", "compaction", "compaction_summary")),
)
