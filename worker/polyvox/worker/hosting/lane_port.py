"""The port on which the other processes of a deployment reach this one: the live lane and probes.

``/lane`` is the live lane, for processes with the deployment's key. ``/healthz`` and ``/readyz``
are for the supervisor of a worker, which has no other port; anybody may ask.
"""

import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from polyvox.activities.live.receiving import Receiver
from polyvox.activities.live.sending import MOST_FRAME_BYTES, PATH, PING_S
from polyvox.worker.settings.cluster import ClusterSettings
from polyvox.workflows.conversation import Json

if TYPE_CHECKING:
    from aiohttp import web

_ALL = ("0.0.0.0", "::")
_CLOSE_S = 2.0

Readiness = Callable[[], Awaitable[tuple[bool, dict[str, Json]]]]
"""Returns whether the process is ready, and the document that says why not."""


class LanePortError(RuntimeError):
    """The port cannot be opened; the message says what to do."""


class LanePort:
    """A listening port. It accepts from ``serve`` on; connections before that wait.

    ``engine_address`` is ``host:port`` of the engine: the address from which this machine reaches
    it is advertised if the port listens on all addresses. Raises LanePortError.
    """

    def __init__(self, cluster: ClusterSettings, engine_address: str) -> None:
        self._tls = _server_tls(cluster)
        self.tls = _client_tls(cluster)
        """What verifies the certificates of the other processes, None without TLS."""
        family = socket.AF_INET6 if ":" in cluster.host else socket.AF_INET
        try:
            self._socket = socket.create_server((cluster.host, cluster.port), family=family)
        except OSError as error:
            raise LanePortError(
                f"The live lane cannot listen on {cluster.host}:{cluster.port} ({error.strerror}). "
                "Choose another address with host and port of [cluster] in polyvox.toml."
            ) from None
        host = cluster.advertise or cluster.host
        if host in _ALL:
            host = _own_address(engine_address)
        port = self._socket.getsockname()[1]
        has_port = host.rpartition(":")[2].isdigit() and (host.count(":") == 1 or "]:" in host)
        place = host if has_port else f"{f'[{host}]' if ':' in host else host}:{port}"
        self.address = f"{'https' if self._tls else 'http'}://{place}"
        """The base URL for other processes."""
        self._runner: web.AppRunner | None = None

    async def serve(self, receiver: Receiver, readiness: Readiness) -> None:
        """Begin to accept."""
        # Imported here, because only processes that share a deployment need it.
        from aiohttp import web  # noqa: PLC0415

        async def lane(request: web.Request) -> web.StreamResponse:
            if receiver.is_full:
                return web.json_response({"status": "busy"}, status=503)
            connection = web.WebSocketResponse(
                heartbeat=PING_S, max_msg_size=MOST_FRAME_BYTES, timeout=_CLOSE_S
            )
            await connection.prepare(request)
            await receiver.serve(connection)
            return connection

        async def healthz(_request: web.Request) -> web.Response:
            return web.json_response({"status": "ok"})

        async def readyz(_request: web.Request) -> web.Response:
            ready, document = await readiness()
            return web.json_response(document, status=200 if ready else 503)

        app = web.Application()
        app.router.add_get(PATH, lane)
        app.router.add_get("/healthz", healthz)
        app.router.add_get("/readyz", readyz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_S)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, ssl_context=self._tls).start()

    async def close(self) -> None:
        """Close the port and its connections."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._socket.close()


def _own_address(engine_address: str) -> str:
    """Return the address from which this machine reaches the engine, without sending anything."""
    host, _, port = engine_address.rpartition(":")
    with contextlib.suppress(OSError, ValueError):
        for family, kind, _, _, place in socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_DGRAM
        ):
            with socket.socket(family, kind) as probe:
                probe.connect(place)
                return str(probe.getsockname()[0])
    return socket.gethostname()


def _server_tls(cluster: ClusterSettings) -> ssl.SSLContext | None:
    if cluster.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cluster.tls_cert, cluster.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise LanePortError(
            f"The certificate of the live lane cannot be used ({error.strerror or error}). Check "
            "tls_cert and tls_key of [cluster] in polyvox.toml."
        ) from None
    return context


def _client_tls(cluster: ClusterSettings) -> ssl.SSLContext | None:
    if cluster.tls_cert is None and cluster.tls_ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=cluster.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise LanePortError(
            f"The authorities of the live lane cannot be read ({error.strerror or error}). Check "
            "tls_ca of [cluster] in polyvox.toml."
        ) from None
