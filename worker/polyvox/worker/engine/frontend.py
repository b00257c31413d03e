"""Queries to a Temporal frontend: readiness, version and retention of its namespace."""

import asyncio
import contextlib
import os
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


class Unreachable(EngineError):
    """The engine does not answer at ``address``, for a ``reason`` in a few words."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"The engine at {address!r} does not answer ({reason}). "
            "Check the address, and that the engine is running."
        )
        self.address = address
        self.reason = reason


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
                await self.retention()
            except EngineError as error:
                if loop.time() > deadline:
                    raise _gave_up(error, limit_s) from None
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, POLL_LAST_S)

    async def version(self) -> str:
        """Return the server's version, such as ``1.29.1``. Raises EngineError without an answer."""
        async with self._service() as service:
            answer = await service.workflow_service.get_system_info(
                GetSystemInfoRequest(), timeout=RPC_LIMIT
            )
        return answer.server_version

    async def answers(self, limit_s: float) -> bool:
        """Return whether the frontend answers one request."""
        try:
            async with self._service() as service:
                return await service.check_health(timeout=timedelta(seconds=limit_s))
        except EngineError:
            return False

    async def retention(self) -> timedelta:
        """Return the retention of the namespace. Raises EngineError."""
        async with self._service() as service:
            answer = await service.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self.namespace), timeout=RPC_LIMIT
            )
        return answer.config.workflow_execution_retention_ttl.ToTimedelta()

    async def keep_history(self, retention: timedelta) -> None:
        """Set the namespace's retention to at least ``retention`` and verify it."""
        ttl = Duration()
        ttl.FromTimedelta(retention)
        if await self.retention() >= retention:
            return
        async with self._service() as service:
            await service.workflow_service.update_namespace(
                UpdateNamespaceRequest(
                    namespace=self.namespace,
                    config=NamespaceConfig(workflow_execution_retention_ttl=ttl),
                ),
                timeout=RPC_LIMIT,
            )
        actual = await self.retention()
        if actual < retention:
            raise EngineError(
                f"The engine keeps history for {actual} although {retention} was requested. "
                "Its log may show the reason."
            )

    @contextlib.asynccontextmanager
    async def _service(self) -> AsyncIterator[ServiceClient]:
        """Yield a connected service; convert the failures of its requests to EngineError."""
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
        except (RPCError, RuntimeError) as error:  # RuntimeError if the SDK cannot connect
            if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
                raise EngineError(
                    f"The engine at {self.address!r} has no namespace {self.namespace!r}. Create "
                    f"it (temporal operator namespace create -n {self.namespace}) or set another "
                    "one (engine.namespace, TEMPORAL_NAMESPACE)."
                ) from None
            reason = error.message if isinstance(error, RPCError) else await self._refusal()
            raise Unreachable(self.address, reason) from None

    async def _refusal(self) -> str:
        """Return in a few words why the SDK cannot connect; its own error dumps structures."""
        host, _, port = self.address.rpartition(":")
        try:
            async with asyncio.timeout(RPC_LIMIT.total_seconds()):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except TimeoutError:
            return f"no connection within {RPC_LIMIT.total_seconds():.0f} s"
        except OSError as error:  # the errno of a name that is not found is negative
            number = error.errno or 0
            return os.strerror(number) if number > 0 else error.strerror or str(error)
        writer.close()
        return "a program accepts connections there, but does not answer as a Temporal frontend"


def _gave_up(error: EngineError, limit_s: float) -> EngineError:
    if isinstance(error, Unreachable):
        return EngineError(
            f"The engine at {error.address!r} did not answer within {limit_s:.0f} s "
            f"({error.reason}): check the address, and that the engine is running."
        )
    return EngineError(f"{error} Gave up after {limit_s:.0f} s.")
