"""The handle of a run in the engine: waits for its end and cancels it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from polyvox.activities.live.channel import RunOutcome
from polyvox.activities.live.relay import Relay
from polyvox.worker.engine.trouble import engine_error
from polyvox.workflows.boundary.failures import model_error
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply

RPC_LIMIT = timedelta(seconds=5)

_RETRY_S = 1.0

log = logging.getLogger(__name__)

Explain = Callable[[RPCError], Awaitable[ModelError]]
"""Returns the ModelError for a client whose request to the engine failed."""


class RunHandle:
    """A run in the engine.

    ``relay`` is needed to cancel the calls of a run in this process. ``explain`` converts an error
    of the engine with knowledge of its state.
    """

    def __init__(
        self,
        handle: WorkflowHandle[object, Reply],
        *,
        relay: Relay | None = None,
        explain: Explain | None = None,
    ) -> None:
        self._handle = handle
        self._relay = relay
        self._explain = explain

    async def outcome(self) -> RunOutcome:
        """Wait for the run's end. If the engine is unreachable, retry every second."""
        while True:
            try:
                return await self._result()
            except RPCError as error:
                log.warning("Cannot ask the engine about run %s: %s", self._handle.id, error)
            await asyncio.sleep(_RETRY_S)

    async def ended(self) -> RunOutcome | None:
        """Return the run's outcome, None while it runs. Raises ModelError if that is unknown."""
        try:
            if (await self._handle.describe()).status is WorkflowExecutionStatus.RUNNING:
                return None
            return await self._result()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return _disappeared()
            raise await self._explained(error) from error

    async def exists(self) -> bool:
        """Return whether the engine has the run. Raises ModelError if that is unknown."""
        try:
            await self._handle.describe(rpc_timeout=RPC_LIMIT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise await self._explained(error) from error
        return True

    async def cancel(self) -> None:
        """Cancel the run and its calls, which would notice only at their next heartbeat.

        The calls end first, because the engine may take seconds when many clients leave at once.
        Raises ModelError if the engine does not accept the request.
        """
        if self._relay is not None:
            self._relay.hang_up(self._handle.id)
        try:
            await self._handle.cancel(rpc_timeout=RPC_LIMIT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # the run has just ended
                raise await self._explained(error) from error
        finally:
            if self._relay is not None:
                self._relay.hang_ups.cancelled(self._handle.id)

    async def _result(self) -> RunOutcome:
        try:
            return RunOutcome(reply=await self._handle.result())
        except (WorkflowFailureError, ApplicationError) as failed:
            return RunOutcome(error=model_error(failed))
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return _disappeared()
            raise

    async def _explained(self, error: RPCError) -> ModelError:
        return engine_error(error) if self._explain is None else await self._explain(error)


def _disappeared() -> RunOutcome:
    return RunOutcome(error=ModelError("internal", "The run has disappeared."))
