"""Parses and renders the options of Messages: limits, sampling, tool choice, effort, format."""

from collections.abc import Callable

from polyvox.protocols.coverage.losses import request_losses
from polyvox.protocols.messages.blocks import invalid
from polyvox.protocols.neutral import neutral_of
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import (
    Json,
    Options,
    OutputFormat,
    ToolChoice,
    Wire,
)

_CHOICES = {"auto": "auto", "none": "none", "any": "required", "tool": "tool"}
_CHOICE_TYPES = {ours: theirs for theirs, ours in _CHOICES.items()}

_BUDGET_EFFORTS = ((4_096, "low"), (16_384, "medium"))
"""The largest thinking budget, in tokens, of each effort; more than the last means high."""

_EFFORTS = {"minimal": "low"}
"""Efforts that this protocol spells differently."""


def parse_options(json: dict[str, Json]) -> Options:
    """Parse a request document without its model, messages, tools, stream and system.

    Raises ModelError("invalid_request") for a known field of another type.
    """
    choice, parallel = _parse_choice(json.get("tool_choice"))
    stop = json.get("stop_sequences")
    if stop is not None and not (isinstance(stop, list) and all(isinstance(s, str) for s in stop)):
        raise invalid("stop_sequences", "must be an array of strings.")
    output = json.get("output_config")
    if output is not None and not isinstance(output, dict):
        raise invalid("output_config", "must be an object.")
    output = output or {}
    return Options(
        max_tokens=_integer(json, "max_tokens"),
        temperature=_number(json, "temperature"),
        top_p=_number(json, "top_p"),
        top_k=_integer(json, "top_k"),
        stop=tuple(stop or ()),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        effort=_parse_effort(json.get("thinking"), output.get("effort")),
        format=_parse_format(output.get("format") or json.get("output_format")),
        wire=Wire("messages", json),
    )


def _number(json: dict[str, Json], name: str) -> float | None:
    value = json.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise invalid(name, "must be a number.")
    return value


def _integer(json: dict[str, Json], name: str) -> int | None:
    value = json.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise invalid(name, "must be an integer.")
    return value


def _parse_choice(choice: Json) -> tuple[ToolChoice | None, bool | None]:
    if choice is None:
        return None, None
    if not isinstance(choice, dict):
        raise invalid("tool_choice", "must be an object.")
    disabled = choice.get("disable_parallel_tool_use")
    parallel = None if disabled is None else not disabled
    name = choice.get("name")
    match choice.get("type"):
        case "auto":
            return ToolChoice("auto"), parallel
        case "none":
            return ToolChoice("none"), parallel
        case "any":
            return ToolChoice("required"), parallel
        case "tool" if isinstance(name, str):
            return ToolChoice("tool", name), parallel
        case "tool":
            raise invalid("tool_choice.name", "must be a string.")
        case kind:
            known = ", ".join(_CHOICES)
            raise invalid("tool_choice.type", f"{kind!r} is none of {known}.")


def _parse_effort(thinking: Json, effort: Json) -> str | None:
    if thinking is not None and not isinstance(thinking, dict):
        raise invalid("thinking", "must be an object.")
    if effort is not None and not isinstance(effort, str):
        raise invalid("output_config.effort", "must be a string.")
    thinking = thinking or {}
    if thinking.get("type") == "disabled":
        return "none"
    if effort is not None or thinking.get("type") != "enabled":
        return effort
    budget = _integer(thinking, "budget_tokens") or 0
    return next((name for limit, name in _BUDGET_EFFORTS if budget <= limit), "high")


def _parse_format(json: Json) -> OutputFormat | None:
    # Unknown kinds of format are not parsed: they are sent to this provider unchanged.
    if not isinstance(json, dict) or json.get("type") != "json_schema":
        return None
    return OutputFormat("json_schema", schema=json.get("schema"))


def render_options(options: Options, losses: list[str]) -> dict[str, Json]:
    """Render the request's fields besides model, messages, tools, stream and system.

    Options from this protocol keep their whole document, except for fields that were changed since.
    Each field of another protocol without a counterpart is named in ``losses``.
    Raises ModelError("unsupported") if leaving such a field out would change the kind of answer.
    """
    document = options.on_wire("messages")
    rendered: dict[str, Json] = {} if document is None else dict(document)
    parsed = parse_options(rendered)
    for name, render in _RENDERERS.items():
        if any(getattr(options, f) != getattr(parsed, f) for f in name):
            render(rendered, options, losses)
    if document is None and options.wire is not None:
        _render_foreign(rendered, options.wire, losses)
    return rendered


def _put(rendered: dict[str, Json], name: str, value: Json) -> None:
    if value is None:
        rendered.pop(name, None)
    else:
        rendered[name] = value


def _render_plain(field: str) -> Callable[[dict[str, Json], Options, list[str]], None]:
    def render(rendered: dict[str, Json], options: Options, losses: list[str]) -> None:
        _put(rendered, field, getattr(options, field))

    return render


def _render_temperature(rendered: dict[str, Json], options: Options, losses: list[str]) -> None:
    value = options.temperature
    if value is not None and value > 1:
        losses.append(f"temperature: {value} lowered to 1, the most this protocol takes")
        value = 1.0
    _put(rendered, "temperature", value)


def _render_stop(rendered: dict[str, Json], options: Options, losses: list[str]) -> None:
    # The API refuses white space alone; the reader of the answer watches for it.
    kept = [s for s in options.stop if s.strip()]
    _put(rendered, "stop_sequences", kept or None)


def _render_choice(rendered: dict[str, Json], options: Options, losses: list[str]) -> None:
    choice, parallel = options.tool_choice, options.parallel_tool_calls
    if choice is None and parallel is None:
        rendered.pop("tool_choice", None)
        return
    json: dict[str, Json] = {"type": _CHOICE_TYPES[choice.mode if choice else "auto"]}
    if choice is not None and choice.name is not None:
        json["name"] = offered_name(choice.name)
    if parallel is not None and json["type"] != "none":
        json["disable_parallel_tool_use"] = not parallel
    rendered["tool_choice"] = json


def _render_effort(rendered: dict[str, Json], options: Options, losses: list[str]) -> None:
    output = dict(rendered.get("output_config") or {})
    effort = options.effort
    if effort == "none":
        rendered["thinking"] = {"type": "disabled"}
        output.pop("effort", None)
    elif effort is None:
        rendered.pop("thinking", None)
        output.pop("effort", None)
    else:
        rendered["thinking"] = {"type": "adaptive"}
        output["effort"] = _EFFORTS.get(effort, effort)
    _put(rendered, "output_config", output or None)


def _render_format(rendered: dict[str, Json], options: Options, losses: list[str]) -> None:
    output = dict(rendered.get("output_config") or {})
    rendered.pop("output_format", None)
    output.pop("format", None)
    match options.format:
        case OutputFormat("json_schema", schema):
            output["format"] = {"type": "json_schema", "schema": schema}
        case OutputFormat("json_object"):
            losses.append("response_format: json_object is asked for in words")
    _put(rendered, "output_config", output or None)


_RENDERERS: dict[tuple[str, ...], Callable[[dict[str, Json], Options, list[str]], None]] = {
    ("max_tokens",): _render_plain("max_tokens"),
    ("temperature",): _render_temperature,
    ("top_p",): _render_plain("top_p"),
    ("top_k",): _render_plain("top_k"),
    ("stop",): _render_stop,
    ("tool_choice", "parallel_tool_calls"): _render_choice,
    ("effort",): _render_effort,
    ("format",): _render_format,
}
"""The typed fields that make up each part of the document."""


def _render_foreign(rendered: dict[str, Json], wire: Wire, losses: list[str]) -> None:
    request = neutral_of(wire).request(wire.json)
    if request.user is not None:
        rendered["metadata"] = {"user_id": request.user}
    thinking = rendered.get("thinking") or {}
    if request.shows_thoughts and thinking.get("type") == "adaptive":
        rendered["thinking"] = {**thinking, "display": "summarized"}
    losses.extend(request_losses(wire, "messages"))
