"""The request fields of Responses beside its items and tools, both ways.

``FIELDS`` says which canonical option stands where. What a document says beyond that table is
listed by ``unmapped_options``, so another protocol can name what it drops.
"""

from collections.abc import Callable, Mapping
from typing import Any

from polyvox.workflows.conversation import Json, Options, OutputFormat, Protocol, ToolChoice, Wire
from polyvox.workflows.wire.responses_content import invalid, of_type, text_field

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
    """Render the request fields: the client's own document where it spoke this protocol.

    Canonical options that differ from that document override it; options this protocol has no
    field for, and fields of another protocol's document, are named in ``losses``.
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
    losses.extend(name for name in _MISSING if getattr(options, name) not in (None, ()))
    if own is None and options.wire is not None:
        losses.extend(_foreign(options.wire.protocol, options.wire.json))
    return document


def unmapped_options(json: Mapping[str, Json]) -> list[str]:
    """Name the fields of a request document that no canonical option holds.

    Fields at their default, and those that concern only transport, storage at the provider or this
    protocol's own reasoning items, are left out.
    """
    names = [
        name
        for name, value in json.items()
        if name not in _MAPPED
        and name not in _SILENT
        and value not in (None, [], {}, "")
        and value != _DEFAULTS.get(name)
    ]
    for outer, inner, defaults in _INNER:
        held = json.get(outer)
        if isinstance(held, dict):
            names += [
                f"{outer}.{key}" for key in held if key != inner and held[key] not in defaults
            ]
    choice = json.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") not in ("function", "custom"):
        names.append(f"tool_choice.{choice.get('type')}")
    return names


_MAPPED = frozenset(
    (
        "max_output_tokens",
        "temperature",
        "top_p",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "text",
    )
)

_SILENT = frozenset(("store", "stream_options"))

_DEFAULTS: dict[str, Json] = {
    "background": False,
    "include": ["reasoning.encrypted_content"],
    "service_tier": "auto",
    "top_logprobs": 0,
    "truncation": "disabled",
}

_INNER: tuple[tuple[str, str, tuple[Json, ...]], ...] = (
    ("reasoning", "effort", (None, "auto")),
    ("text", "format", (None, "medium")),
)

_MISSING = ("stop", "top_k")

# The fields of the other protocols' documents that the canonical options hold, or that concern
# only the transport. Everything else in them has no place here.
_FOREIGN_MAPPED: dict[Protocol, frozenset[str]] = {
    "chat": frozenset(
        (
            "max_tokens",
            "max_completion_tokens",
            "temperature",
            "top_p",
            "stop",
            "tool_choice",
            "parallel_tool_calls",
            "reasoning_effort",
            "response_format",
            "stream_options",
        )
    ),
    "messages": frozenset(
        (
            "max_tokens",
            "temperature",
            "top_p",
            "top_k",
            "stop_sequences",
            "tool_choice",
            "thinking",
            "output_config",
        )
    ),
}

_FOREIGN_DEFAULTS: dict[str, Json] = {
    "n": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logprobs": False,
    "service_tier": "auto",
    "store": False,
}


def _foreign(protocol: Protocol, json: Json) -> list[str]:
    mapped = _FOREIGN_MAPPED.get(protocol, frozenset())
    return [
        name
        for name, value in (json.items() if isinstance(json, dict) else ())
        if name not in mapped
        and value not in (None, [], {}, "")
        and value != _FOREIGN_DEFAULTS.get(name)
    ]


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
    # The mode of a subset of tools still says whether one must be called.
    return _MODES.get(json.get("mode", "")) if json.get("type") == "allowed_tools" else None


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
    return OutputFormat("json_schema", json.get("schema"), json.get("name"), json.get("strict"))


def _write_tool_choice(document: dict[str, Json], choice: ToolChoice | None) -> None:
    if choice is None:
        document.pop("tool_choice", None)
    elif choice.mode == "tool":
        document["tool_choice"] = {"type": "function", "name": choice.name}
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
