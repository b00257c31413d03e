"""TCP ports of this machine: is one free, which ones does an engine get."""

import json
import secrets
import socket
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

LOOPBACK = "127.0.0.1"
# Below the ranges that systems hand out to outgoing connections (Linux 32768, macOS 49152), so
# that a remembered port is still free tomorrow; the digits recall Temporal's own 7233.
FIRST_PORT = 17233
FRONTENDS = 1000

# Browsers refuse to connect to these ports, whatever page asks (the Fetch standard's "bad ports",
# those above 1023). The engine's HTTP listeners that check neither Host nor credentials get them,
# so that no web page can speak to them, by DNS rebinding or otherwise.
BROWSER_BLOCKED_PORTS = (
    *(6665, 6666, 6667, 6668, 6669, 6697, 6566, 4045, 3659, 2049),
    *(1719, 1720, 1723, 5060, 5061, 10080, 6000),
)


@dataclass(frozen=True, slots=True)
class EnginePorts:
    """Where an engine listens, everything on loopback addresses.

    ``frontend`` speaks gRPC and ``metrics`` serves Prometheus's text, both at 127.0.0.1; ``ui``
    serves the Web UI at ``ui_host``. ``ui`` None stands for no Web UI, ``metrics`` None for a port
    of the engine's own choice. ``namespace`` is the one its runs are in.
    """

    frontend: int
    ui: int | None = None
    ui_host: str = LOOPBACK
    metrics: int | None = None
    namespace: str = "default"

    @property
    def free(self) -> bool:
        """True when an engine could listen on all of them now."""
        return (
            is_free(self.frontend)
            and (self.ui is None or is_free(self.ui, self.ui_host))
            and (self.metrics is None or is_free(self.metrics))
        )


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """True when a server could listen on the port now; an unknown host counts as not free."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            # As servers do: connections of an earlier server that linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port the system considers free at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def choose_ports(memory: Path, seed: str) -> EnginePorts:
    """The ports of an engine: those remembered in the file ``memory`` while still free.

    Otherwise the search begins at a place that ``seed`` (the data folder) decides, so that two
    folders started at the same moment do not race for the same ports. Writes nothing.
    """
    known = read_ports(memory)
    start = zlib.crc32(seed.encode())
    ui_host, ui = _ui(known, start)
    ports = EnginePorts(_frontend(known, start), ui, ui_host, known.metrics if known else None)
    return replace(ports, metrics=metrics_port(ports, start))


def metrics_port(known: EnginePorts, start: int = 0) -> int | None:
    """The port for the metrics: the known one while it is free, else another; None: all taken."""
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
    # A second wall: nobody can guess this address. Linux listens on all of 127.0.0.0/8 at once,
    # other systems only on 127.0.0.1.
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
    """What ``write_ports`` stored, or None when there is nothing usable."""
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
    """Remember the ports, so that commands find the engine and the next start uses them again."""
    memory.write_text(json.dumps(asdict(ports)) + "\n", encoding="utf-8")
