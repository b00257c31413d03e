"""Parses and renders the request fields of Responses besides items and tools.

Stop sequences have no field: the sender of the request looks for them in the answer.
"""

from collections.abc import Callable
from typing import Any

from polyvox.protocols.coverage.losses import request_losses
from polyvox.protocols.neutral import neutral_of
from polyvox.protocols.openai.shared_options import add_shared
from polyvox.protocols.responses.content import invalid, of_type, text_field
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import Json, Options, OutputFormat, ToolChoice, Wire

LEAST_TOKENS = 16
"""The API refuses a smaller ``max_output_tokens``."""

_MODES: dict[str, ToolChoice] = {
    "auto": ToolChoice("auto"),
    "none": ToolChoice("none"),
    "required": ToolChoice("required"),
}


def parse_options(json: Json) -> Options:
    """Parse the request document without model, input, tools, stream and instructions."""
    reasoning = of_type(json, "reasoning", dict) or {}
    text = of_type(json, "text", dict) or {}
    return Options(
        max_tokens=of_type(json, "max_output_tokens", int),
        temperature=_number(json, "temperature"),
        top_p=_number(json, "top_p"),
        tool_choice=_parse_tool_choice(json.get("tool_choice")),
        parallel_tool_calls=of_type(json, "parallel_tool_calls", bool),
        effort=of_type(reasoning, "effort", str),
        format=_parse_format(text.get("format")),
        wire=Wire("responses", json),
    )


def render_options(options: Options, losses: list[str]) -> dict[str, Json]:
    """Render the request fields, from the client's own document if it used this protocol.

    Canonical options that differ from that document override it; options without a field in this
    protocol, and fields of another protocol's document, are named in ``losses``.
    """
    own = options.on_wire("responses")
    document: dict[str, Json] = dict(own or {})
    was = parse_options(document)
    for name, write in _WRITERS.items():
        value = getattr(options, name)
        if value != getattr(was, name):
            write(document, value)
    if own is None and options.max_tokens is not None and options.max_tokens < LEAST_TOKENS:
        document["max_output_tokens"] = LEAST_TOKENS
        losses.append(f"max_tokens: raised to {LEAST_TOKENS}, the least this protocol allows")
    if own is None and options.wire is not None:
        _borrow(document, options.wire)
        losses.extend(request_losses(options.wire, "responses"))
    elif options.top_k is not None:
        losses.append("top_k")
    return document


def _borrow(document: dict[str, Json], wire: Wire) -> None:
    """Add what another protocol's document has in fields without a typed option."""
    request = neutral_of(wire).request(wire.json)
    add_shared(document, request, user_as="safety_identifier")
    if request.metadata is not None:
        document["metadata"] = request.metadata
    if request.verbosity:
        document["text"] = {**(document.get("text") or {}), "verbosity": request.verbosity}
    if request.top_logprobs is not None:
        document["include"] = ["message.output_text.logprobs"]
        document["top_logprobs"] = request.top_logprobs
    if request.shows_thoughts:
        document["reasoning"] = {**(document.get("reasoning") or {}), "summary": "auto"}


def _number(json: Json, name: str) -> float | None:
    value = json.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise invalid(f"{name!r} must be a number, not {value!r}.", name)


def _parse_tool_choice(json: Json) -> ToolChoice | None:
    if json is None:
        return None
    if isinstance(json, str):
        if json not in _MODES:
            raise invalid(f"Unknown tool_choice {json!r}; use {sorted(_MODES)}.", "tool_choice")
        return _MODES[json]
    if not isinstance(json, dict):
        raise invalid("'tool_choice' must be a string or an object.", "tool_choice")
    if json.get("type") in ("function", "custom"):
        return ToolChoice("tool", text_field(json, "name"))
    mode = _MODES.get(str(json.get("mode")))
    if json.get("type") != "allowed_tools" or mode is None:
        return None
    return ToolChoice(mode.mode, allowed=_allowed(json.get("tools")))


def _allowed(tools: Json) -> tuple[str, ...]:
    """Return the tools' names; a tool without one is named by its type, as in ``parse_tool``."""
    listed = tools if isinstance(tools, list) else []
    entries = [tool for tool in listed if isinstance(tool, dict)]
    return tuple(
        str(tool.get("name") or tool.get("server_label") or tool.get("type")) for tool in entries
    )


def _parse_format(json: Json) -> OutputFormat | None:
    if json is None:
        return None
    if not isinstance(json, dict):
        raise invalid("'text.format' must be an object.", "text.format")
    kind = json.get("type")
    if kind == "json_object":
        return OutputFormat("json_object")
    if kind != "json_schema":
        return None
    return OutputFormat(
        "json_schema",
        json.get("schema"),
        json.get("name"),
        json.get("strict"),
        json.get("description"),
    )


def _write_tool_choice(document: dict[str, Json], choice: ToolChoice | None) -> None:
    if choice is None:
        document.pop("tool_choice", None)
    elif choice.allowed is not None:
        named = [{"type": "function", "name": offered_name(name)} for name in choice.allowed]
        document["tool_choice"] = {"type": "allowed_tools", "mode": choice.mode, "tools": named}
    elif choice.mode == "tool":
        document["tool_choice"] = {
            "type": "function",
            "name": offered_name(choice.name or ""),
        }
    else:
        document["tool_choice"] = choice.mode


def _write_effort(document: dict[str, Json], effort: str | None) -> None:
    document["reasoning"] = {**(document.get("reasoning") or {}), "effort": effort}


def _write_format(document: dict[str, Json], form: OutputFormat | None) -> None:
    spelled: dict[str, Json]
    if form is None:
        spelled = {"type": "text"}
    elif form.kind == "json_object":
        spelled = {"type": "json_object"}
    else:
        name = form.name or "answer"
        spelled = {"type": "json_schema", "name": name, "schema": form.schema}
        if form.strict is not None:
            spelled["strict"] = form.strict
        if form.description is not None:
            spelled["description"] = form.description
    document["text"] = {**(document.get("text") or {}), "format": spelled}


def _writer(field: str) -> Callable[[dict[str, Json], Any], None]:
    def write(document: dict[str, Json], value: Any) -> None:
        if value is None:
            document.pop(field, None)
        else:
            document[field] = value

    return write


_WRITERS: dict[str, Callable[[dict[str, Json], Any], None]] = {
    "max_tokens": _writer("max_output_tokens"),
    "temperature": _writer("temperature"),
    "top_p": _writer("top_p"),
    "tool_choice": _write_tool_choice,
    "parallel_tool_calls": _writer("parallel_tool_calls"),
    "effort": _write_effort,
    "format": _write_format,
}
