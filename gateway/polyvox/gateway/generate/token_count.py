"""Counts a request's input tokens where somebody can count them exactly."""

from polyvox.activities.registry.registry import DIRECT
from polyvox.protocols.client_side import Ask
from polyvox.worker.runtime import Runtime


async def provider_count(runtime: Runtime, ask: Ask) -> int | None:
    """Return the provider's own count where one model answers; of a panel there is no such count.

    Raises ModelError("model_not_found").
    """
    binding = runtime.registry.resolve(ask.model, runtime.providers)
    if binding.flow.partition("@")[0] != DIRECT:
        return None
    return await runtime.counter.count(str(binding.params["model"]), ask.conversation)
