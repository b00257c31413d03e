"""Lists of items as clients read them: every item with an id, in pages."""

import re
from collections.abc import Mapping, Sequence

from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.responses import StoredResponse
from polyvox.protocols.requests.credentials import redacted
from polyvox.workflows.conversation import Json, Message
from polyvox.workflows.errors import ModelError

_PAGE = 20
_LONGEST_PAGE = 100

_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "function_call_output": "fco",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    "compaction": "cmp",
}


async def input_items(bodies: Bodies, stored: StoredResponse) -> list[dict[str, Json]]:
    """Return the input of ``stored`` as items, oldest first; ids made here contain the run's."""
    items = []
    for index, message in enumerate((await bodies.fetch(stored.conversation)).messages):
        item = message.on_wire("responses") or {}
        prefix = _PREFIXES.get(_kind(item), "item")
        items.append(listed_item(message, item.get("id") or f"{prefix}_{stored.run_id}_in_{index}"))
    return items


def listed_item(message: Message, item_id: str) -> dict[str, Json]:
    """Return the item of ``message`` with the members that a list shows."""
    item: dict[str, Json] = message.on_wire("responses") or {}
    listed = {**item, "id": item_id, "type": _kind(item)}
    if "tools" in item:
        listed = redacted(listed)
    if listed["type"] != "message":
        return listed
    listed.setdefault("status", "completed")
    if isinstance(item.get("content"), str):
        is_output = message.role == "assistant"
        part = {"type": "output_text" if is_output else "input_text", "text": item["content"]}
        listed["content"] = [{**part, "annotations": []} if is_output else part]
    return listed


def _kind(item: Mapping[str, Json]) -> str:
    return item.get("type") or "message"


def page(items: Sequence[dict[str, Json]], query: Mapping[str, str]) -> dict[str, Json]:
    """Return one page of ``items`` (oldest first) as the query asks: after, limit, order.

    Raises ModelError("invalid_request") naming the parameter.
    """
    limit = query_number(query, "limit", _PAGE)
    if not 1 <= limit <= _LONGEST_PAGE:
        raise ModelError(
            "invalid_request", f"'limit' must be 1 to {_LONGEST_PAGE}, not {limit}.", param="limit"
        )
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise ModelError(
            "invalid_request", f"'order' must be 'asc' or 'desc', not {order!r}.", param="order"
        )
    ordered = items if order == "asc" else items[::-1]
    begin = 0
    if (after := query.get("after")) is not None:
        ids = [item["id"] for item in ordered]
        if after not in ids:
            raise ModelError("invalid_request", f"There is no item {after!r}.", param="after")
        begin = ids.index(after) + 1
    data = list(ordered[begin : begin + limit])
    return item_list(data, has_more=begin + limit < len(ordered))


def item_list(data: list[dict[str, Json]], *, has_more: bool = False) -> dict[str, Json]:
    """Return the list object around ``data``."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def query_number(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a whole number of the query. Raises ModelError("invalid_request")."""
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise ModelError(
            "invalid_request", f"{name!r} must be a whole number, not {text!r}.", param=name
        )
    return int(text)
