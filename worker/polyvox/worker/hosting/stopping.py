"""Lets the activities of a worker that stops go on in another one.

The SDK reports an activity that a stopping worker interrupts as cancelled, and a flow takes that
for the end of its run. Model calls report it themselves (``failures/stopped_process.py``), because
only they know what the client has received.
"""

import asyncio
from typing import Any

from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from polyvox.activities.failures.stopped_process import stopped_process
from polyvox.workflows.boundary.failures import failure


class GoOnElsewhere(Interceptor):
    """Makes activities that a stopping worker interrupts fail with an error that is retried."""

    def intercept_activity(
        self,
        next: ActivityInboundInterceptor,  # noqa: A002 - the SDK's name
    ) -> ActivityInboundInterceptor:
        return _Activity(next)


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(
        self,
        input: ExecuteActivityInput,  # noqa: A002 - the SDK's name
    ) -> Any:
        try:
            return await self.next.execute_activity(input)
        except asyncio.CancelledError:
            stopped = stopped_process(shown=False)
            if stopped is None:
                raise
            raise failure(stopped, retryable=True) from None
