"""The runs whose clients have left, and whether the engine knows that they are cancelled."""

import asyncio
from collections import OrderedDict
from contextlib import suppress

_MOST = 10_000
"""The newest runs without a client that are known; a call of an older one ends by itself."""

_CANCELLED_WITHIN_S = 15.0
"""The longest that a call waits for its run's cancellation; it then reports its own end."""


class HangUps:
    """The runs that were hung up in this process. Used on the event loop only."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, asyncio.Event] = OrderedDict()

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._left

    def add(self, run_id: str) -> None:
        if run_id not in self._left:
            self._left[run_id] = asyncio.Event()
            if len(self._left) > _MOST:
                self._left.popitem(last=False)

    def cancelled(self, run_id: str) -> None:
        """Record that the engine knows the cancellation of a run, or cannot be told."""
        if (acknowledged := self._left.get(run_id)) is not None:
            acknowledged.set()

    async def until_cancelled(self, run_id: str) -> None:
        """Wait until the engine knows the cancellation of a run that was hung up.

        A call that reported its end earlier would make the run fail instead.
        """
        if (acknowledged := self._left.get(run_id)) is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(acknowledged.wait(), _CANCELLED_WITHIN_S)
