"""Queries to a Temporal frontend: readiness, version and retention of its namespace."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    GetSystemInfoRequest,
    UpdateNamespaceRequest,
)
from temporalio.runtime import Runtime
from temporalio.service import (
    ConnectConfig,
    GrpcCompression,
    RPCError,
    RPCStatusCode,
    ServiceClient,
)

RPC_LIMIT = timedelta(seconds=2)
POLL_FIRST_S = 0.02
POLL_LAST_S = 0.5


class EngineError(Exception):
    """The engine cannot be found, started or reached; the message names the remedy."""


class _NoAnswer(Exception):
    """A request failed; ``no_namespace`` if the reason is that the namespace does not exist."""

    def __init__(self, message: str, *, no_namespace: bool = False) -> None:
        super().__init__(message)
        self.no_namespace = no_namespace


class Frontend:
    """A Temporal frontend at ``address`` (``host:port``), queried for one namespace.

    The first successful request connects; later the SDK reconnects by itself.
    """

    def __init__(self, address: str, namespace: str, runtime: Runtime | None = None) -> None:
        self.address = address
        self.namespace = namespace
        self._runtime = runtime
        self._connected: ServiceClient | None = None

    async def wait(self, limit_s: float, still_alive: Callable[[], None]) -> None:
        """Wait until the frontend serves requests and the namespace exists.

        ``still_alive`` is called before each attempt and may raise to give up early. Raises
        EngineError after ``limit_s`` seconds. A missing namespace is waited for, because a new
        cluster creates it after its frontend has started.
        """
        pause = POLL_FIRST_S
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while True:
            still_alive()
            try:
                await self._retention()
            except _NoAnswer as trouble:
                if loop.time() > deadline:
                    raise self._error(trouble, f"within {limit_s:.0f} s") from None
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, POLL_LAST_S)

    async def version(self) -> str:
        """Return the server's version, such as ``1.29.1``. Raises EngineError without an answer."""
        try:
            async with self._asking() as service:
                answer = await service.workflow_service.get_system_info(
                    GetSystemInfoRequest(), timeout=RPC_LIMIT
                )
        except _NoAnswer as trouble:
            raise self._error(trouble) from None
        return answer.server_version

    async def answers(self, limit_s: float) -> bool:
        """Return whether the frontend answers one request."""
        try:
            async with self._asking() as service:
                return await service.check_health(timeout=timedelta(seconds=limit_s))
        except _NoAnswer:
            return False

    async def retention(self) -> timedelta:
        """Return the retention of the namespace. Raises EngineError."""
        try:
            return await self._retention()
        except _NoAnswer as trouble:
            raise self._error(trouble) from None

    async def keep_history(self, retention: timedelta) -> None:
        """Set the namespace's retention to at least ``retention`` and verify it."""
        ttl = Duration()
        ttl.FromTimedelta(retention)
        try:
            if await self._retention() >= retention:
                return
            async with self._asking() as service:
                await service.workflow_service.update_namespace(
                    UpdateNamespaceRequest(
                        namespace=self.namespace,
                        config=NamespaceConfig(workflow_execution_retention_ttl=ttl),
                    ),
                    timeout=RPC_LIMIT,
                )
            kept = await self._retention()
        except _NoAnswer as trouble:
            raise self._error(trouble) from None
        if kept < retention:
            raise EngineError(
                f"The engine keeps history for {kept} although {retention} was requested. "
                "Its log may show the reason."
            )

    async def _retention(self) -> timedelta:
        async with self._asking() as service:
            answer = await service.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self.namespace), timeout=RPC_LIMIT
            )
        return answer.config.workflow_execution_retention_ttl.ToTimedelta()

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[ServiceClient]:
        """Yield a connected service; convert every failure to get an answer to _NoAnswer."""
        try:
            if self._connected is None:
                self._connected = await ServiceClient.connect(
                    ConnectConfig(
                        target_host=self.address,
                        runtime=self._runtime,
                        grpc_compression=GrpcCompression.NONE,
                        connect_timeout=RPC_LIMIT,
                    )
                )
            yield self._connected
        except RPCError as error:
            raise _NoAnswer(
                error.message, no_namespace=error.status == RPCStatusCode.NOT_FOUND
            ) from None
        except RuntimeError as error:  # raised by the SDK if it cannot connect
            raise _NoAnswer(str(error)) from None

    def _error(self, trouble: _NoAnswer, when: str = "now") -> EngineError:
        if trouble.no_namespace:
            return EngineError(
                f"The engine at {self.address!r} has no namespace {self.namespace!r}. Create it "
                f"(temporal operator namespace create -n {self.namespace}) or set another one "
                "(engine.namespace, TEMPORAL_NAMESPACE)."
            )
        return EngineError(
            f"The engine at {self.address!r} does not answer {when}: {trouble}. "
            "Check the address, and that the engine is running."
        )
