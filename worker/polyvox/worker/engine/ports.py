"""TCP ports of this machine: checks for free ports, and the choice of an engine's ports."""

import json
import secrets
import socket
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from polyvox.activities.storage.private_files import write_private

LOOPBACK = "127.0.0.1"
# Below the ranges of outgoing connections (Linux 32768, macOS 49152), so that a stored port is
# likely to be free at the next start; the digits resemble Temporal's default 7233.
FIRST_PORT = 17233
FRONTENDS = 1000

# Browsers block connections to these ports for all pages (the Fetch standard's "bad ports" above
# 1023). The engine's HTTP listeners that check neither Host nor credentials use them, so that web
# pages cannot reach them, by DNS rebinding or otherwise.
BROWSER_BLOCKED_PORTS = (
    *(6665, 6666, 6667, 6668, 6669, 6697, 6566, 4045, 3659, 2049),
    *(1719, 1720, 1723, 5060, 5061, 10080, 6000),
)


@dataclass(frozen=True, slots=True)
class EnginePorts:
    """The ports an engine listens on, all on loopback addresses.

    ``frontend`` serves gRPC and ``metrics`` Prometheus's text format, both at 127.0.0.1; ``ui``
    serves the Web UI at ``ui_host``. ``ui`` is None without a Web UI, ``metrics`` is None if the
    engine chooses the port. ``namespace`` is the namespace of its runs.
    """

    frontend: int
    ui: int | None = None
    ui_host: str = LOOPBACK
    metrics: int | None = None
    namespace: str = "default"

    @property
    def free(self) -> bool:
        """Return whether an engine could listen on all of them now."""
        return (
            is_free(self.frontend)
            and (self.ui is None or is_free(self.ui, self.ui_host))
            and (self.metrics is None or is_free(self.metrics))
        )


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on the port now; False if ``host`` is unknown."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            # Set by servers too: ignores lingering connections of an earlier server.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port that the system considers free."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def choose_ports(memory: Path, seed: str) -> EnginePorts:
    """Return the ports for an engine: those stored in the file ``memory`` if they are still free.

    Otherwise ``seed`` (the data folder) determines where the search begins, so that two folders
    started at the same time do not compete for the same ports. Writes nothing.
    """
    known = read_ports(memory)
    start = zlib.crc32(seed.encode())
    ui_host, ui = _ui(known, start)
    ports = EnginePorts(_frontend(known, start), ui, ui_host, known.metrics if known else None)
    return replace(ports, metrics=metrics_port(ports, start))


def metrics_port(known: EnginePorts, start: int = 0) -> int | None:
    """Return a port for the metrics, the known one if it is free; None if all are in use."""
    if known.metrics and is_free(known.metrics):
        return known.metrics
    return _free_blocked(LOOPBACK, start, other_than=known.ui)


def _frontend(known: EnginePorts | None, start: int) -> int:
    if known and is_free(known.frontend):
        return known.frontend
    ports = (FIRST_PORT + (start + step) % FRONTENDS for step in range(FRONTENDS))
    return next((port for port in ports if is_free(port)), None) or free_port()


def _ui(known: EnginePorts | None, start: int) -> tuple[str, int | None]:
    if known and known.ui and is_free(known.ui, known.ui_host):
        return known.ui_host, known.ui
    # An additional protection: this address cannot be guessed. Linux can listen on all of
    # 127.0.0.0/8, other systems only on 127.0.0.1.
    unguessable = ".".join(("127", *(str(secrets.randbelow(254) + 1) for _ in range(3))))
    for host in (unguessable, LOOPBACK):
        if (port := _free_blocked(host, start)) is not None:
            return host, port
    return LOOPBACK, None


def _free_blocked(host: str, start: int, other_than: int | None = None) -> int | None:
    count = len(BROWSER_BLOCKED_PORTS)
    ports = (BROWSER_BLOCKED_PORTS[(start + step) % count] for step in range(count))
    return next((port for port in ports if port != other_than and is_free(port, host)), None)


def read_ports(memory: Path) -> EnginePorts | None:
    """Return the ports that ``write_ports`` stored, None if the file is missing or invalid."""
    try:
        document = json.loads(memory.read_text(encoding="utf-8"))
        ui, metrics = document["ui"], document["metrics"]
        return EnginePorts(
            int(document["frontend"]),
            None if ui is None else int(ui),
            str(document["ui_host"]),
            None if metrics is None else int(metrics),
            str(document.get("namespace", "default")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_ports(memory: Path, ports: EnginePorts) -> None:
    """Store the ports, so that commands find the engine and the next start reuses them."""
    write_private(memory, json.dumps(asdict(ports)).encode() + b"\n")
