"""Changes of one virtual model, as the command line and the API ask for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from polyvox.activities.registry.virtual_models import ModelSpec, ResolvedModel
from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import FlowError


class ModelEdit(BaseModel):
    """What changes; None and what is not named stays. ``unset`` names parameters to remove.

    A limit or a field of the card that is None is removed.
    """

    model_config = ConfigDict(extra="forbid")

    message: str = ""
    flow: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    unset: list[str] = Field(default_factory=list)
    description: str | None = None
    limits: dict[str, Any] = Field(default_factory=dict)
    card: dict[str, Any] = Field(default_factory=dict)


def edited(name: str, present: ResolvedModel | None, edit: ModelEdit) -> ModelSpec:
    """Return the model after ``edit``. Raises FlowError for a new one without a flow."""
    if present is None:
        if edit.flow is None:
            raise FlowError(f"There is no model {name!r} yet: name the flow that it runs.")
        present = ResolvedModel(name, edit.flow, "", {})
    if missing := [key for key in edit.unset if key not in present.params]:
        raise FlowError(f"Model {name!r} does not set {', '.join(map(repr, missing))}.")
    params = {key: value for key, value in present.params.items() if key not in edit.unset}
    return ModelSpec(
        edit.flow or present.flow,
        {**params, **edit.params},
        present.description if edit.description is None else edit.description,
        _merged(present.limits, edit.limits),
        _merged(present.card, edit.card),
    )


def _merged(present: Mapping[str, Json], edit: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in {**present, **edit}.items() if value is not None}


def earlier(
    name: str, history: Sequence[ResolvedModel], version: int | None = None
) -> ResolvedModel:
    """Return that version of a model, or the one before the newest. Raises FlowError."""
    if not history:
        raise FlowError(f"No model {name!r} has ever existed.")
    if version is None:
        active = [model for model in history[:-1] if not model.retired]
        if not active:
            raise FlowError(f"Model {name!r} has no earlier version.")
        return active[-1]
    found = next((model for model in history if model.version == version), None)
    if found is None:
        raise FlowError(f"Model {name!r} has the versions 1 to {history[-1].version}.")
    return found


def as_it_was(binding: ResolvedModel) -> ModelSpec:
    """Return the spec that restores a version of a model."""
    return ModelSpec(
        binding.flow, binding.params, binding.description, binding.limits, binding.card
    )
