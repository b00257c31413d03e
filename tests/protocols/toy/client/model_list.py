"""Lists models for the toy protocol's clients: their names."""

from collections.abc import Sequence

from polyvox.protocols.client_side import ModelEntry
from polyvox.workflows.conversation import Json


def render_list(models: Sequence[ModelEntry], query: Sequence[tuple[str, str]]) -> dict[str, Json]:
    return {"names": [model.name for model in models]}


def render_model(model: ModelEntry) -> dict[str, Json]:
    return {"name": model.name}
