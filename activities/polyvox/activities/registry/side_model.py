"""What answers an agent's requests beside the conversation, such as the title of a session."""

from collections.abc import Mapping
from dataclasses import replace

from polyvox.activities.registry.parameters import SIDE, main_model
from polyvox.activities.registry.registry import DIRECT, Registry, ResolvedModel
from polyvox.workflows.errors import ModelError


def side_model(
    registry: Registry, model: ResolvedModel, providers: Mapping[str, object]
) -> ResolvedModel:
    """Return what answers in place of ``model``: its ``side`` parameter, else its main model alone.

    ``side`` is ``provider:model`` or the name of a virtual model. A flow whose parameters name no
    model answers itself. The name and the limits stay those of ``model``.
    """
    side = model.params.get(SIDE)
    if isinstance(side, str) and ":" not in side:
        try:
            other = registry.resolve(side, providers)
        except ModelError:  # it was retired
            side = None
        else:
            return replace(other, model=model.model, limits=model.limits)
    if not isinstance(side, str):
        side = main_model(registry.load(model.digest).params, model.params)
    if side is None or model.flow.partition("@")[0] == DIRECT:
        return model
    direct = registry.flow(DIRECT)
    return replace(model, flow=direct.name, digest=direct.digest, params={"model": side})
