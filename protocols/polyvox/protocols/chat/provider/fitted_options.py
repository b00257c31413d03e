"""Adapts the options of a Chat Completions request to the server that gets it.

``document`` is the request without its messages and tools. What a client of Chat Completions sent
itself (``own``) is changed only where this server is known to refuse it.
"""

from typing import Final

import orjson

from polyvox.protocols.coverage.losses import lose
from polyvox.protocols.dialects.dialect import OPENAI_FIELDS, Dialect
from polyvox.protocols.openai.model_capabilities import nearest, takes_effort, thinks
from polyvox.workflows.conversation import Json

_LIMITS: Final = ("max_tokens", "max_completion_tokens")

_SCHEMA_IN_WORDS: Final = "Answer with one JSON object that is valid by this JSON Schema:\n"


def fit_options(
    document: dict[str, Json], dialect: Dialect, model: str, losses: list[str], *, own: bool
) -> None:
    """Change ``document`` to what ``dialect`` accepts, and name what is lost."""
    _fit_limit(document, dialect, model, own=own)
    _fit_temperature(document, dialect, losses)
    _fit_format(document, dialect)
    _fit_reasoning(document, dialect)
    if not own:
        _fit_effort(document, dialect, model, losses)
    _fit_choice(document, dialect, losses)
    for name in list(document):
        refused = name in dialect.refuses
        kept = not refused and (own or _is_accepted(name, dialect, model))
        if not kept and document.pop(name) is not None:
            lose(losses, f"{name}: {_why(dialect, refused=refused)}")


def _why(dialect: Dialect, *, refused: bool) -> str:
    if refused:
        return f"{dialect.server} refuses it"
    if dialect.is_known:
        return f"{dialect.server} is not known to take it"
    return "not every server takes it"


def _is_accepted(name: str, dialect: Dialect, model: str) -> bool:
    if name in _LIMITS or name in dialect.accepts or name not in OPENAI_FIELDS:
        return True
    return name == "reasoning_effort" and takes_effort(model)


def _fit_limit(document: dict[str, Json], dialect: Dialect, model: str, *, own: bool) -> None:
    name = dialect.output_limit
    if name == "by_model":
        name = "max_completion_tokens" if thinks(model) else "max_tokens"
    other = _LIMITS[1 - _LIMITS.index(name)]
    if other not in document or (own and other not in dialect.refuses):
        return
    limit = document.pop(other)
    if limit is not None:
        document.setdefault(name, limit)


def _fit_temperature(document: dict[str, Json], dialect: Dialect, losses: list[str]) -> None:
    value = document.get("temperature")
    if dialect.hottest is not None and value is not None and value > dialect.hottest:
        document["temperature"] = dialect.hottest
        lose(losses, f"temperature: {dialect.server} takes at most {dialect.hottest:g}")


def _fit_format(document: dict[str, Json], dialect: Dialect) -> None:
    form = document.get("response_format")
    if not dialect.json_object and isinstance(form, dict) and form.get("type") == "json_object":
        schema = {"name": "answer", "schema": {"type": "object"}}
        document["response_format"] = {"type": "json_schema", "json_schema": schema}


def _fit_reasoning(document: dict[str, Json], dialect: Dialect) -> None:
    """Write the effort of OpenRouter's ``reasoning`` as OpenAI does, where that is refused."""
    reasoning = document.get("reasoning")
    if (
        "reasoning" not in dialect.refuses
        or not isinstance(reasoning, dict)
        or "effort" not in reasoning
    ):
        return
    rest = {name: value for name, value in reasoning.items() if name != "effort"}
    document.setdefault("reasoning_effort", reasoning["effort"])
    document["reasoning"] = rest or None


def _fit_effort(document: dict[str, Json], dialect: Dialect, model: str, losses: list[str]) -> None:
    effort = document.get("reasoning_effort")
    if effort is None:
        return
    if dialect.effort_as != "reasoning_effort":
        _switch_thinking(document, dialect, on=effort != "none")
        if effort == "none" or dialect.efforts == ():
            del document["reasoning_effort"]
        if effort != "none" and dialect.efforts == ():
            lose(losses, f"effort: {dialect.server} only switches thinking on or off")
    if dialect.efforts and "reasoning_effort" in document:
        # An effort that the server lacks is never replaced by "none", which turns thinking off.
        fitted = nearest(effort, [e for e in dialect.efforts if e != "none" or effort == "none"])
        if fitted != effort:
            document["reasoning_effort"] = fitted
            lose(losses, f"effort: {dialect.server} takes {fitted!r} for {effort!r}")


def _switch_thinking(document: dict[str, Json], dialect: Dialect, *, on: bool) -> None:
    if dialect.effort_as == "enable_thinking":
        document["enable_thinking"] = on
    elif dialect.effort_as == "thinking":
        document["thinking"] = {"type": "enabled" if on else "disabled"}


def _fit_choice(document: dict[str, Json], dialect: Dialect, losses: list[str]) -> None:
    """Make a choice that forces a call acceptable; see ``Dialect.forced_choice``."""
    choice = document.get("tool_choice")
    if dialect.forced_choice in ("accepted", "required") or not is_forced(choice):
        return
    if dialect.forced_choice == "refused":
        document["tool_choice"] = "auto"
        lose(losses, f"tool_choice: {dialect.server} takes only 'auto'")
        return
    _switch_thinking(document, dialect, on=False)
    if document.pop("reasoning_effort", None) is not None:
        lose(losses, "effort: a forced tool call allows no thinking")


def is_forced(choice: Json) -> bool:
    """Whether ``tool_choice`` requires a call."""
    if isinstance(choice, dict):
        inner = choice.get("allowed_tools")
        return not isinstance(inner, dict) or inner.get("mode") == "required"
    return bool(choice == "required")


def schema_in_words(document: dict[str, Json], dialect: Dialect, losses: list[str]) -> str | None:
    """Return an instruction that stands for a JSON Schema, for a server that takes none.

    The request then has the format ``json_object``; these servers want the word JSON in the prompt.
    """
    form = document.get("response_format")
    if dialect.json_schema or not isinstance(form, dict) or form.get("type") != "json_schema":
        return None
    document["response_format"] = {"type": "json_object"}
    lose(losses, f"response_format: {dialect.server} gets the schema as an instruction")
    inner = form.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return f"{_SCHEMA_IN_WORDS}{orjson.dumps(schema).decode()}"
