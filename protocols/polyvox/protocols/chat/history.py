"""How Chat Completions spells the calls, results and media of a history.

Elements are fragments of messages; see ``chat.elements``.
"""

from collections.abc import Sequence
from typing import Final

from polyvox.protocols.history.spelling import Spelling
from polyvox.workflows.conversation import Json

_GROWN: Final = {"function": "arguments", "custom": "input"}


def _call(fragment: Json, call_id: str, arguments: str) -> Json:
    entries = fragment.get("tool_calls")
    if not entries:  # the older function_call, which has no id
        function = fragment["function_call"]
        if function.get("arguments") == arguments:
            return fragment
        return {**fragment, "function_call": {**function, "arguments": arguments}}
    entry = entries[0]
    kind = entry.get("type") or "function"
    if entry.get("id") == call_id and entry[kind].get(_GROWN[kind]) == arguments:
        return fragment
    function = {**entry[kind], _GROWN[kind]: arguments}
    return {**fragment, "tool_calls": [{**entry, "id": call_id, kind: function}]}


def _result(message: Json, call_id: str) -> Json:
    if message.get("role") == "function" or message.get("tool_call_id") == call_id:
        return message
    return {**message, "tool_call_id": call_id}


def _contents(message: Json, fragments: Sequence[Json]) -> Json:
    return {**message, "content": [piece for f in fragments for piece in f["content"]]}


def _media(fragment: Json, media_type: str) -> Json:
    piece = fragment["content"][0]
    kind = piece["type"]
    media = piece[kind]
    member = "file_data" if kind == "file" else "url"
    if isinstance(media, str):
        return {"content": [{**piece, kind: _data_url(media, media_type)}]}
    return {"content": [{**piece, kind: {**media, member: _data_url(media[member], media_type)}}]}


def _data_url(url: str, media_type: str) -> str:
    return f"data:{media_type};base64,{url.partition(',')[2] or url}"


def _message(message: Json, fragments: Sequence[Json | None]) -> Json | None:
    if message["role"] in ("tool", "function"):
        return fragments[0] if len(fragments) == 1 else None
    known = [fragment for fragment in fragments if fragment]
    changed = dict(message)
    if isinstance(message.get("content"), list):
        changed["content"] = [piece for f in known for piece in f.get("content", ())]
    if message.get("tool_calls"):
        changed["tool_calls"] = [entry for f in known for entry in f.get("tool_calls", ())]
    for fragment in known:
        if "function_call" in fragment:
            changed["function_call"] = fragment["function_call"]
    return changed


SPELLING: Final = Spelling(
    protocol="chat",
    call=_call,
    result=_result,
    contents=_contents,
    media=_media,
    message=_message,
    call_id=lambda call_id: call_id,
    answers_each=True,
)
