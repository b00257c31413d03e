"""Adapts a requested output format, and strict tools, to what Claude accepts.

A schema with keywords that Claude refuses is sent without them, and the answer is checked against
the original (``Rendered.wanted``). A schema that cannot be fitted is asked for in words.
"""

from typing import Final

import orjson

from polyvox.protocols.messages.provider.model_capabilities import generation
from polyvox.protocols.schemas.fitting import CLOSED, fitted
from polyvox.workflows.conversation import Conversation, Json, OutputFormat

_WORDS: Final = (
    "Answer with one JSON value and nothing else. It must match this JSON Schema:\n{schema}"
)


def fit_format(
    body: dict[str, Json], conversation: Conversation, model: str, losses: list[str]
) -> OutputFormat | None:
    """Fit the format of ``body``; return the client's if the provider is asked for less.

    What a Messages client sent to another model than Claude is not changed.
    """
    form = conversation.options.format
    is_own = conversation.options.on_wire("messages") is not None
    if is_own and generation(model) is None:
        return None
    _loosen_tools(body, losses)
    if form is None or form.kind != "json_schema":
        return None
    schema, removed = fitted(form.schema)
    if not removed:
        return None
    named = ", ".join(removed)
    if schema is None:
        _ask_in_words(body, form)
        losses.append(f"response_format: asked for in words, because of {named}; checked here")
        return form
    spelled = {"type": "json_schema", "schema": schema}
    if "output_format" in body:
        body["output_format"] = spelled
    else:
        body["output_config"] = {**(body.get("output_config") or {}), "format": spelled}
    losses.append(f"response_format: fitted to the provider ({named}); checked here")
    return form


def _ask_in_words(body: dict[str, Json], form: OutputFormat) -> None:
    body.pop("output_format", None)
    output = {k: v for k, v in (body.pop("output_config", None) or {}).items() if k != "format"}
    if output:
        body["output_config"] = output
    words = _WORDS.format(schema=orjson.dumps(form.schema).decode())
    system = body.get("system")
    if isinstance(system, list):
        body["system"] = [*system, {"type": "text", "text": words}]
    else:
        body["system"] = f"{system}\n\n{words}" if system else words


def _loosen_tools(body: dict[str, Json], losses: list[str]) -> None:
    """Send tools whose schemas strict mode refuses without it: the whole schema says more."""
    tools: list[Json] = body.get("tools") or []
    for at, tool in enumerate(tools):
        if not tool.get("strict"):
            continue
        schema, removed = fitted(tool.get("input_schema"))
        if removed == (CLOSED,) and schema is not None:
            tools[at] = {**tool, "input_schema": schema}
            losses.append("tools.input_schema: its objects are closed, as strict tools need it")
        elif removed:
            tools[at] = {name: value for name, value in tool.items() if name != "strict"}
            losses.append(f"tools.strict: not possible here with {', '.join(removed)}")
