"""Checks the values of a virtual model: its flow's parameters, its runs' limits and its card.

A mistake is reported as ``params.panel.1: what is wrong``, with the path in the document.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyvox.activities.registry.model_card import Card
from polyvox.activities.registry.virtual_models import name_mistake
from polyvox.workflows.boundary.calls import Limits
from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import MODEL_PATTERN, Params

SIDE = "side"
"""The parameter of every virtual model that names what answers requests beside the conversation."""

LONGEST_RUN_S = 7200.0
"""The engine ends every run after this time; no deadline can be later."""


class LimitsTable(BaseModel):
    """``[models.NAME.limits]``: the limits of one run of the model."""

    model_config = ConfigDict(extra="forbid", strict=True)

    calls: int = Field(Limits().calls, ge=1, le=10_000)
    deadline_s: float | None = Field(None, gt=0, le=LONGEST_RUN_S)
    cost_usd: float | None = Field(None, gt=0, allow_inf_nan=False)


def mistakes(
    kind: type[Params],
    params: Mapping[str, Json],
    limits: Mapping[str, Json] = MappingProxyType({}),
    card: Mapping[str, Json] = MappingProxyType({}),
    providers: Collection[str] = (),
) -> list[str]:
    """Return the mistakes in ``params`` of that ``kind``, ``limits`` and ``card``; path first.

    ``providers`` are the known providers; if empty, any may be named.
    """
    own = own_params(kind, params)
    wrong = _invalid("params", kind, own)
    has_side = len(own) < len(params)
    found = [
        *wrong,
        *(_side_mistakes(params) if has_side else ()),
        *_invalid("limits", LimitsTable, limits),
        *_invalid("card", Card, card),
    ]
    if not providers:
        return found
    known = ", ".join(sorted(providers))
    # Of invalid parameters, those that name a model are checked too.
    named = [*(_named_models(kind, own) if wrong else models_in(kind, own))]
    if has_side and isinstance(params[SIDE], str):
        named.append((SIDE, params[SIDE]))
    return found + [
        f"params.{path}: {model!r} names no known provider. Providers: {known}."
        for path, model in named
        if ":" in model and model.partition(":")[0] not in providers
    ]


def own_params(kind: type[Params], params: Mapping[str, Json]) -> dict[str, Json]:
    """Return the parameters that the flow gets: all but ``side``, unless it declares that."""
    known = SIDE in kind.model_fields
    return {name: value for name, value in params.items() if known or name != SIDE}


def main_model(kind: type[Params], params: Mapping[str, Json]) -> str | None:
    """Return the model that can answer in place of a flow with (valid) ``params``.

    It is the parameter ``main``, else the first parameter that is a model, else the first model in
    any parameter; None if no parameter names a model.
    """
    named = dict(models_in(kind, own_params(kind, params)))
    named.pop(SIDE, None)
    single = (model for path, model in named.items() if "." not in path)
    return named.get("main") or next(single, None) or next(iter(named.values()), None)


def _side_mistakes(params: Mapping[str, Json]) -> list[str]:
    if SIDE not in params:
        return []
    side = params[SIDE]
    if isinstance(side, str) and (_is_model(side) or not name_mistake(side)):
        return []
    return [
        (
            f"params.{SIDE}: must be a model of the form provider:model or the name of a virtual "
            f"model, not {side!r}."
        )
    ]


def _is_model(text: str) -> bool:
    provider, _, name = text.partition(":")
    return bool(provider and name) and not any(character.isspace() for character in text)


def models_in(kind: type[Params], params: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Return the models that ``params`` (valid ones) name, defaults included, by path."""
    schema = kind.model_json_schema()
    whole = kind.model_validate(dict(params)).model_dump(mode="json")
    return _models("", schema, whole, schema.get("$defs", {}))


def _named_models(kind: type[Params], params: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Return the models that ``params`` name where the schema has a model; they may be invalid."""
    schema = kind.model_json_schema()
    return _models("", schema, dict(params), schema.get("$defs", {}))


def _models(
    path: str, schema: Mapping[str, Any], value: Json, named: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    if "$ref" in schema:
        schema = named.get(schema["$ref"].rpartition("/")[2], {})
    if schema.get("format") == "model" and isinstance(value, str):
        yield path, value
    for choice in schema.get("anyOf", ()):
        yield from _models(path, choice, value, named)
    if isinstance(value, dict):
        inside = schema.get("additionalProperties")
        for name, item in value.items():
            known = schema.get("properties", {}).get(name, inside)
            if isinstance(known, dict):
                yield from _models(f"{path}.{name}" if path else name, known, item, named)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from _models(f"{path}.{index}", schema["items"], item, named)


def _invalid(where: str, kind: type[BaseModel], given: Mapping[str, Json]) -> list[str]:
    try:
        kind.model_validate(dict(given))
    except ValidationError as error:
        named = kind.model_json_schema().get("$defs", {})
        return [
            f"{'.'.join([where, *_path(detail, named)])}: {_message(detail, kind, named)}"
            for detail in _causes(error.errors(include_url=False))
        ]
    except Exception as error:  # noqa: BLE001 - a flow's validator may raise anything
        return [f"{where}: the flow's validator raised {type(error).__name__}: {error}"]
    return []


_OTHER_KIND = frozenset({"string_type", "model_type", "dict_type"})
"""The errors of a value for each choice of a union that has a different type."""


def _causes(details: Sequence[Any]) -> list[Any]:
    """Return the errors without consequences of others: unrelated choices, dropped items."""

    def follows(detail: Any) -> bool:
        loc = detail["loc"]
        others = [other["loc"] for other in details if other is not detail]
        if detail["type"] in _OTHER_KIND:
            return any(other[: len(loc) - 1] == loc[:-1] and other != loc for other in others)
        return detail["type"] == "too_short" and any(o[: len(loc)] == loc for o in others)

    return [detail for detail in details if not follows(detail)] or list(details)


def _path(detail: Any, named: Mapping[str, Any]) -> list[str]:
    """Return the path in the document, without the names of the choices that were tried."""
    return [str(step) for step in detail["loc"] if step != "constrained-str" and step not in named]


def _message(detail: Any, kind: type[BaseModel], named: Mapping[str, Any]) -> str:
    if detail["type"] == "extra_forbidden":
        inside = next((named[step] for step in reversed(detail["loc"]) if step in named), None)
        known = inside["properties"] if inside else kind.model_fields
        return f"is not known. Known: {', '.join(sorted(known)) or 'none'}."
    if detail["type"] == "missing":
        return "is missing."
    if detail["type"] == "value_error":
        return f"{detail['ctx']['error']}.".replace("..", ".")
    shown = repr(detail["input"])
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    context = detail.get("ctx", {})
    if context.get("pattern") == MODEL_PATTERN:
        return f"must be a model of the form provider:model, such as openai:gpt-5, not {shown}."
    if "pattern" in context:
        return f"must match the regular expression {context['pattern']}, not {shown}."
    return f"{detail['msg'].rstrip('.')}, not {shown}."
