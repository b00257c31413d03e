"""Rewrites a request in the shape of Responses (``input``) as one of Chat Completions."""

from collections.abc import Callable
from typing import Final

from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

_OF_RESPONSES: Final = ("input", "instructions", "reasoning", "text", "include", "truncation")
_STATE: Final = ("previous_response_id", "conversation")


def from_input(body: dict[str, Json]) -> dict[str, Json]:
    """Return the request with ``messages`` made of ``input`` and ``instructions``.

    Raises ModelError("invalid_request", param=...) for an item that has no place in a Chat
    message, and for a request that continues a stored response.
    """
    for name in _STATE:
        if body.get(name) is not None:
            raise _invalid(name, f"{name!r} needs /v1/responses; Chat Completions stores no state.")
    chat = {name: value for name, value in body.items() if name not in _OF_RESPONSES}
    messages: list[Json] = []
    if isinstance(instructions := body.get("instructions"), str) and instructions:
        messages.append({"role": "system", "content": instructions})
    given = body["input"]
    if isinstance(given, str):
        messages.append({"role": "user", "content": given})
    elif isinstance(given, list):
        for at, item in enumerate(given):
            _add(messages, item, f"input[{at}]")
    else:
        raise _invalid("input", "'input' must be a string or a list of items.")
    chat["messages"] = messages
    return chat | _options(body)


def _options(body: dict[str, Json]) -> dict[str, Json]:
    options: dict[str, Json] = {}
    reasoning, text = body.get("reasoning"), body.get("text")
    if isinstance(reasoning, dict) and (effort := reasoning.get("effort")) is not None:
        options["reasoning_effort"] = effort
    if isinstance(text, dict):
        if (verbosity := text.get("verbosity")) is not None:
            options["verbosity"] = verbosity
        form = text.get("format")
        if isinstance(form, dict) and form.get("type") == "json_schema":
            schema = {name: value for name, value in form.items() if name != "type"}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif isinstance(form, dict) and form.get("type") != "text":
            options["response_format"] = form
    # A member that the client also wrote in Chat's spelling is what it means.
    return {name: value for name, value in options.items() if body.get(name) is None}


def _add(messages: list[Json], item: Json, where: str) -> None:
    """Add an item to ``messages``; the calls and reasoning of one answer share a message."""
    if not isinstance(item, dict):
        raise _invalid(where, "An input item must be an object.")
    kind = item.get("type") or ("message" if "role" in item else None)
    if kind == "message":
        message = {name: item[name] for name in ("role", "content", "name") if name in item}
        last = _open_answer(messages) if item.get("role") == "assistant" else None
        if last is not None and last["content"] is None and "tool_calls" not in last:
            last["content"] = item.get("content")
        else:
            messages.append(message)
        return
    add = _ITEMS.get(kind) if isinstance(kind, str) else None
    if add is None:
        raise _invalid(
            f"{where}.type",
            f"An item of type {kind!r} has no place in a Chat message; use /v1/responses.",
        )
    add(messages, item, where)


def _open_answer(messages: list[Json]) -> Json:
    """Return the assistant's message at the end, which further items of its answer continue."""
    return messages[-1] if messages and messages[-1].get("role") == "assistant" else None


def _answer(messages: list[Json]) -> Json:
    last = _open_answer(messages)
    if last is None:
        last = {"role": "assistant", "content": None}
        messages.append(last)
    return last


def _add_call(messages: list[Json], item: dict[str, Json], where: str) -> None:
    custom = item["type"] == "custom_tool_call"
    grown = "input" if custom else "arguments"
    kind = "custom" if custom else "function"
    definition = {"name": _text(item, "name", where), grown: _text(item, grown, where)}
    call = {"id": _text(item, "call_id", where), "type": kind, kind: definition}
    _answer(messages).setdefault("tool_calls", []).append(call)


def _add_result(messages: list[Json], item: dict[str, Json], where: str) -> None:
    call_id, output = _text(item, "call_id", where), item.get("output")
    content = "" if output is None else output
    messages.append({"role": "tool", "tool_call_id": call_id, "content": content})


def _add_reasoning(messages: list[Json], item: dict[str, Json], where: str) -> None:
    listed = (item.get("summary"), item.get("content"))
    sections = [section for one in listed if isinstance(one, list) for section in one]
    texts = [s["text"] for s in sections if isinstance(s, dict) and isinstance(s.get("text"), str)]
    if texts:
        thought = "\n\n".join(texts)
        messages.append({"role": "assistant", "content": None, "reasoning_content": thought})


_ITEMS: Final[dict[str, Callable[[list[Json], dict[str, Json], str], None]]] = {
    "function_call": _add_call,
    "custom_tool_call": _add_call,
    "function_call_output": _add_result,
    "custom_tool_call_output": _add_result,
    "reasoning": _add_reasoning,
}


def _text(item: dict[str, Json], name: str, where: str) -> str:
    value = item.get(name)
    if isinstance(value, str):
        return value
    raise _invalid(f"{where}.{name}", f"{name!r} must be a string.")


def _invalid(param: str, message: str) -> ModelError:
    return ModelError("invalid_request", message, param=param, code="invalid_value")
