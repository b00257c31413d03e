"""Counts a request's input tokens at its provider."""

from polyvox.activities.registry.registry import DIRECT
from polyvox.protocols.client_side import Ask
from polyvox.worker.runtime import Runtime


async def provider_count(runtime: Runtime, ask: Ask) -> int | None:
    """Return the provider's count, None for a flow that may ask several models.

    Raises ModelError("model_not_found").
    """
    binding = runtime.registry.resolve(ask.model, runtime.providers)
    if binding.flow.partition("@")[0] != DIRECT:
        return None
    return await runtime.counter.count(str(binding.params["model"]), ask.conversation)
