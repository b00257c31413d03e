"""TCP ports of this machine: is one free, who holds it, which two does an engine get."""

import contextlib
import json
import socket
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
# Below the ranges that systems hand out to outgoing connections (Linux 32768, macOS 49152), so
# that a remembered port is still free tomorrow; the digits recall Temporal's own 7233 and 8233.
FIRST_PORT = 17233
UI_OFFSET = 1000


@dataclass(frozen=True, slots=True)
class EnginePorts:
    """``frontend`` speaks gRPC, ``ui`` serves the Web UI; both on the loopback address."""

    frontend: int
    ui: int


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
    """The two ports of an engine: those remembered in the file ``memory`` while still free.

    Otherwise the search begins at a place that ``seed`` (the data folder) decides, so that two
    folders started at the same moment do not race for the same pair. Writes nothing.
    """
    remembered = read_ports(memory)
    if remembered and is_free(remembered.frontend) and is_free(remembered.ui):
        return remembered
    start = zlib.crc32(seed.encode()) % UI_OFFSET
    for step in range(UI_OFFSET):
        frontend = FIRST_PORT + (start + step) % UI_OFFSET
        if is_free(frontend) and is_free(frontend + UI_OFFSET):
            return EnginePorts(frontend, frontend + UI_OFFSET)
    return EnginePorts(free_port(), free_port())


def read_ports(memory: Path) -> EnginePorts | None:
    """What ``write_ports`` stored, or None when there is nothing usable."""
    try:
        document = json.loads(memory.read_text(encoding="utf-8"))
        return EnginePorts(int(document["frontend"]), int(document["ui"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_ports(memory: Path, ports: EnginePorts) -> None:
    """Remember the ports, so that links into the Web UI stay valid."""
    memory.write_text(json.dumps(asdict(ports)) + "\n", encoding="utf-8")


def port_holder(port: int) -> tuple[int, str] | None:
    """Process id and name of who listens on the port, where the system lets us see it (Linux)."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        # A process that has ended meanwhile, or belongs to somebody else, is not looked into.
        with contextlib.suppress(OSError):
            if str(entry.readlink()) in inodes:
                process = entry.parents[1]
                return int(process.name), (process / "comm").read_text().strip()
    return None


def _listening_inodes(port: int) -> set[str]:
    """Sockets in state LISTEN, as /proc/PID/fd names them (format: proc(5), /proc/net/tcp)."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{columns[9]}]")
    return found
