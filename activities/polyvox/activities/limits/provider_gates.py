"""What a call passes before its provider is asked: the circuit, and the limit of its provider."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from polyvox.activities.limits.circuits import Circuits, Passage
from polyvox.activities.limits.fair_queue import Bounds, FairQueue, Full
from polyvox.activities.model_call.provider import Provider
from polyvox.workflows.boundary.failures import LONGEST_RETRY_WAIT_S
from polyvox.workflows.errors import ModelError


class ProviderGates:
    """The gates of a process. Used on the event loop only.

    Calls above a provider's ``max_concurrent`` wait in a queue with the length and time of
    ``waiting``, fair between the clients' keys.
    """

    def __init__(
        self, providers: Mapping[str, Provider], circuits: Circuits, waiting: Bounds
    ) -> None:
        self._circuits = circuits
        self._queues = {
            name: FairQueue(Bounds(most, waiting.most_waiting, waiting.wait_s))
            for name, provider in providers.items()
            if (most := provider.max_concurrent) is not None
        }

    async def enter(self, provider: Provider, model: str, key_id: str) -> "Entry":
        """Wait for a place at the provider. Raises what ``Circuits.enter`` raises, and
        ModelError("rate_limit") if the provider's queue is full."""
        passage = await self._circuits.enter(provider.name, model)
        queue = self._queues.get(provider.name)
        if queue is None:
            return Entry(passage, None)
        try:
            await queue.hold(queue.turn(key_id))
        except BaseException as error:
            passage.ended(asyncio.CancelledError())  # the provider was not asked
            if isinstance(error, Full):
                raise _too_many(provider) from None
            raise
        return Entry(passage, queue)


class Entry:
    """A call that has passed the gates of its provider; leave its context when it has ended."""

    def __init__(self, passage: Passage, queue: FairQueue | None) -> None:
        self._passage = passage
        self._queue = queue

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._queue is not None:
            self._queue.leave()
        self._passage.ended(error)

    def answers(self) -> None:
        """Count the call as a success: the provider has begun its answer."""
        self._passage.answers()


def _too_many(provider: Provider) -> ModelError:
    return ModelError(
        "rate_limit",
        f"Provider {provider.name!r} already has {provider.max_concurrent} calls in progress, the "
        "limit in its max_concurrent, and no place became free in time.",
        # Longer than Temporal waits, so that a flow's fallback comes at once.
        retry_after_s=LONGEST_RETRY_WAIT_S + 1,
        provider=provider.name,
        cost_usd=0.0,
    )
