"""How Messages spells the calls, results and media of a history."""

from collections.abc import Sequence
from typing import Final

from polyvox.protocols.history.spelling import Spelling
from polyvox.protocols.messages.blocks import render_id
from polyvox.workflows.conversation import Json


def _call(block: Json, call_id: str, _arguments: str) -> Json:
    return block if block.get("id") == call_id else {**block, "id": call_id}


def _result(block: Json, call_id: str) -> Json:
    return block if block.get("tool_use_id") == call_id else {**block, "tool_use_id": call_id}


def _contents(block: Json, blocks: Sequence[Json]) -> Json:
    return {**block, "content": [*blocks]}


def _media(block: Json, media_type: str) -> Json:
    return {**block, "source": {**block["source"], "media_type": media_type}}


def _message(message: Json, blocks: Sequence[Json | None]) -> Json | None:
    return None if None in blocks else {**message, "content": [*blocks]}


SPELLING: Final = Spelling(
    protocol="messages",
    call=_call,
    result=_result,
    contents=_contents,
    media=_media,
    message=_message,
    call_id=render_id,
)
