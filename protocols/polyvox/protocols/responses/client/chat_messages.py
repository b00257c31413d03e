"""Rewrites a request in the shape of Chat Completions (``messages``) as one of Responses."""

from collections.abc import Iterator
from typing import Final

from polyvox.protocols.responses.content import invalid
from polyvox.workflows.conversation import Json

_ROLES: Final = ("system", "developer", "user", "assistant")


def from_messages(body: dict[str, Json]) -> dict[str, Json]:
    """Return the request with ``input`` made of ``messages``, and options in Responses' spelling.

    Raises ModelError("invalid_request", param=...) for a message of an unknown role.
    """
    request = {name: value for name, value in body.items() if name not in _OF_CHAT}
    items = [
        item for at, one in enumerate(body["messages"]) for item in _items(one, f"messages[{at}]")
    ]
    reasoning, text = _members(body, "reasoning"), _members(body, "text")
    if body.get("reasoning_effort") is not None:
        reasoning.setdefault("effort", body["reasoning_effort"])
    if body.get("verbosity") is not None:
        text.setdefault("verbosity", body["verbosity"])
    if isinstance(form := body.get("response_format"), dict):
        schema = form.get("json_schema")
        own = {"type": "json_schema", **schema} if isinstance(schema, dict) else form
        text.setdefault("format", own)
    set_options = {"reasoning": reasoning, "text": text}
    return {**request, "input": items, **{n: value for n, value in set_options.items() if value}}


_OF_CHAT: Final = ("messages", "reasoning_effort", "verbosity", "response_format")


def _members(body: dict[str, Json], name: str) -> dict[str, Json]:
    value = body.get(name)
    return dict(value) if isinstance(value, dict) else {}


def _items(message: Json, where: str) -> Iterator[Json]:
    """Yield the items of one message: its content, then its calls."""
    if not isinstance(message, dict):
        raise invalid("A message must be an object.", where)
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        call_id = message.get("tool_call_id")
        yield {"type": "function_call_output", "call_id": call_id, "output": content or ""}
        return
    if role not in _ROLES:
        raise invalid(f"Unknown role {role!r}; use one of {sorted(_ROLES)}.", f"{where}.role")
    if content or not message.get("tool_calls"):
        yield {"type": "message", "role": role, "content": content or ""}
    calls = message.get("tool_calls") or ()
    for at, call in enumerate(calls if isinstance(calls, list) else ()):
        kind = call.get("type") or "function" if isinstance(call, dict) else None
        items = call.get(kind) if isinstance(kind, str) else None
        if not isinstance(items, dict):
            raise invalid("A call needs its function.", f"{where}.tool_calls[{at}].function")
        grown = {"custom": "input"}.get(kind or "", "arguments")
        name = "custom_tool_call" if kind == "custom" else "function_call"
        yield {
            "type": name,
            "call_id": call.get("id"),
            "name": items.get("name"),
            grown: items.get(grown),
        }
