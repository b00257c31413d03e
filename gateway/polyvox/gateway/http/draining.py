"""The end of a server that load balancers lead to.

First it only says that it is not ready: ``/readyz`` fails, and each answer closes its connection,
so that clients with open connections leave as well. It still takes requests until the load
balancers have noticed. Then it accepts no more, and running answers get their time to end.
"""

import asyncio


class Draining:
    """Whether the server is about to stop."""

    def __init__(self) -> None:
        self.has_begun = False

    async def begin(self, delay_s: float) -> None:
        """Begin, and return when no new requests are to be expected."""
        self.has_begun = True
        if delay_s:
            await asyncio.sleep(delay_s)
