"""Parses and renders Chat Completions options."""

from collections.abc import Callable
from typing import Final, Literal, TypeVar

from polyvox.protocols.coverage.losses import lose, request_losses
from polyvox.protocols.neutral import neutral_of
from polyvox.protocols.openai.shared_options import add_shared
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import (
    Json,
    Options,
    OutputFormat,
    ToolChoice,
    Wire,
)
from polyvox.workflows.errors import ModelError

_T = TypeVar("_T")


def ill_typed(param: str, expected: str, value: Json) -> ModelError:
    """Return the error for a known field of the wrong type or value."""
    return ModelError(
        "invalid_request",
        f"{param or 'This element'} must be {expected}, not {f'{value!r:.80}'}.",
        param=param or None,
        code="invalid_value",
    )


def parse_options(json: Json) -> Options:
    """Parse a request document without model, messages, tools and stream."""
    _typed(json, "stream_options", dict, "an object")
    limit = _number(json, "max_completion_tokens", whole=True)
    top_k = _number(json, "top_k", whole=True)
    if limit is None:
        limit = _number(json, "max_tokens", whole=True)
    return Options(
        max_tokens=None if limit is None else int(limit),
        temperature=_number(json, "temperature"),
        top_p=_number(json, "top_p"),
        top_k=None if top_k is None else int(top_k),
        stop=_parse_stop(json.get("stop")),
        tool_choice=_parse_tool_choice(json.get("tool_choice")),
        parallel_tool_calls=_typed(json, "parallel_tool_calls", bool, "a boolean"),
        effort=_parse_effort(json),
        format=_parse_format(json.get("response_format")),
        wire=Wire("chat", json),
    )


def _number(json: Json, name: str, *, whole: bool = False) -> float | None:
    value = json.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise ill_typed(name, "an integer" if whole else "a number", value)
    number: float = value
    return number


def _typed(json: Json, name: str, kind: type[_T], expected: str) -> _T | None:
    value = json.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise ill_typed(name, expected, value)


def _parse_stop(json: Json) -> tuple[str, ...]:
    stops = [json] if isinstance(json, str) else json or ()
    if not isinstance(stops, list | tuple) or not all(isinstance(stop, str) for stop in stops):
        raise ill_typed("stop", "a string or an array of strings", json)
    return tuple(stops)


_MODES: Final[dict[str, Literal["auto", "none", "required"]]] = {
    "auto": "auto",
    "none": "none",
    "required": "required",
}


def _parse_tool_choice(json: Json) -> ToolChoice | None:
    if json is None:
        return None
    if isinstance(json, str) and json in _MODES:
        return ToolChoice(_MODES[json])
    if not isinstance(json, dict):
        raise ill_typed("tool_choice", "none, auto, required or an object", json)
    kind = json.get("type")
    choice = json.get(kind) if isinstance(kind, str) else None
    if not isinstance(choice, dict):
        return None
    if kind == "allowed_tools":
        mode = _MODES.get(str(choice.get("mode", "auto")))
        return ToolChoice(mode, allowed=_allowed(choice.get("tools"))) if mode else None
    name = choice.get("name")
    if not isinstance(name, str):
        raise ill_typed(f"tool_choice.{kind}.name", "a string", name)
    return ToolChoice("tool", name)


def _allowed(tools: Json) -> tuple[str, ...]:
    listed = tools if isinstance(tools, list) else []
    definitions = (tool.get(str(tool.get("type"))) for tool in listed if isinstance(tool, dict))
    names = (inner.get("name") for inner in definitions if isinstance(inner, dict))
    return tuple(name for name in names if isinstance(name, str))


def _parse_effort(json: Json) -> str | None:
    """Return the effort; OpenRouter's clients write it as ``reasoning: {"effort": ...}``."""
    effort = _typed(json, "reasoning_effort", str, "a string")
    reasoning = json.get("reasoning")
    other = reasoning.get("effort") if isinstance(reasoning, dict) else None
    return other if effort is None and isinstance(other, str) else effort


def _write_effort(document: dict[str, Json], value: str | None) -> None:
    _put(document, "reasoning_effort", value)
    reasoning = document.get("reasoning")
    if isinstance(reasoning, dict) and "effort" in reasoning:
        rest = {name: inner for name, inner in reasoning.items() if name != "effort"}
        _put(document, "reasoning", rest or None)


def _parse_format(json: Json) -> OutputFormat | None:
    if json is None:
        return None
    if not isinstance(json, dict):
        raise ill_typed("response_format", "an object", json)
    kind = json.get("type")
    if kind == "json_object":
        return OutputFormat("json_object")
    if kind != "json_schema":
        return None
    definition = json.get("json_schema")
    if not isinstance(definition, dict):
        raise ill_typed("response_format.json_schema", "an object", definition)
    return OutputFormat(
        "json_schema",
        definition.get("schema"),
        definition.get("name"),
        definition.get("strict"),
        definition.get("description"),
    )


def render_options(options: Options, losses: list[str]) -> dict[str, Json]:
    """Render the request document without model, messages, tools and stream.

    A Chat document keeps its own spelling wherever its value equals that of ``options``. Each field
    of another protocol's document that Chat lacks is a loss.
    """
    own = options.on_wire("chat")
    document: dict[str, Json] = dict(own or {})
    parsed = parse_options(document)
    for name, write in _WRITERS.items():
        value = getattr(options, name)
        if value != getattr(parsed, name):
            write(document, value)
    if own is None and options.wire is not None:
        _borrow(document, options.wire, losses)
    return document


def _put(document: dict[str, Json], name: str, value: Json) -> None:
    if value is None:
        document.pop(name, None)
    else:
        document[name] = value


def _plain(name: str) -> Callable[[dict[str, Json], Json], None]:
    return lambda document, value: _put(document, name, value)


def _write_max_tokens(document: dict[str, Json], value: Json) -> None:
    # OpenAI refuses the older name with newer models, and both at once with any model.
    older = "max_tokens" in document and "max_completion_tokens" not in document
    document.pop("max_tokens", None)
    _put(document, "max_tokens" if older else "max_completion_tokens", value)


def _write_stop(document: dict[str, Json], value: Json) -> None:
    _put(document, "stop", list(value) or None)


def _write_tool_choice(document: dict[str, Json], value: ToolChoice | None) -> None:
    # Only the allowed tools are offered: most servers have no other way to restrict them.
    if value is None or value.mode != "tool":
        _put(document, "tool_choice", value and value.mode)
    else:
        function = {"name": offered_name(value.name or "")}
        document["tool_choice"] = {"type": "function", "function": function}


def _write_format(document: dict[str, Json], value: OutputFormat | None) -> None:
    if value is None or value.kind == "json_object":
        _put(document, "response_format", value and {"type": "json_object"})
        return
    definition = {"name": value.name or "answer", "schema": value.schema}
    if value.strict is not None:
        definition["strict"] = value.strict
    if value.description is not None:
        definition["description"] = value.description
    document["response_format"] = {"type": "json_schema", "json_schema": definition}


_WRITERS: Final[dict[str, Callable[[dict[str, Json], Json], None]]] = {
    "max_tokens": _write_max_tokens,
    "temperature": _plain("temperature"),
    "top_p": _plain("top_p"),
    "top_k": _plain("top_k"),
    "stop": _write_stop,
    "tool_choice": _write_tool_choice,
    "parallel_tool_calls": _plain("parallel_tool_calls"),
    "effort": _write_effort,
    "format": _write_format,
}

MOST_STOPS: Final = 4
"""The number of stop sequences that the API accepts."""


def _borrow(document: dict[str, Json], wire: Wire, losses: list[str]) -> None:
    """Add what another protocol's document has in fields without a typed option."""
    if "top_k" in wire.json:
        # A sampling refinement that OpenAI refuses by name; leaving it out is the smaller harm.
        document.pop("top_k", None)
    request = neutral_of(wire).request(wire.json)
    add_shared(document, request, user_as="user")
    _put(document, "verbosity", request.verbosity)
    for loss in request_losses(wire, "chat"):
        lose(losses, loss)
