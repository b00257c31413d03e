"""A server to flood. Its providers run in other processes, so their work is not measured.

The neighbour reads from ``sim``, ``other`` answers the attacker, and ``endless`` is a port on which
the test itself can act as a provider.
"""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from polyvox.worker.engine.ports import free_port
from tests.attack.neighbour import neighbour
from tests.programs.processes import Child, running

KEY = "flooding-user-key"

MODELS = """
[providers.inlining]
protocol = "chat"
base_url = "{other}"
inline_urls = true

[models.patched]
flow = "patch"
params = {{ coder = "other:main" }}

[models.printing]
flow = "patch"
params = {{ coder = "other:main", commands = ["yes"], command_timeout_s = 3, rounds = 0 }}
"""
"""The models, besides ``provider:model``, for attacks on flows and fetches."""

NEIGHBOUR = "sim:main-itl10-n100000"
UNDISTURBED_S = 2.0
FLOOR_S = 0.05
"""A gap below this is noise of the machine, independent of the server."""


@dataclass(frozen=True, slots=True)
class Flooded:
    """The server, and the port on which a test may act as the provider ``endless``."""

    child: Child
    base_url: str
    endless_port: int
    key: str = KEY

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.base_url.removeprefix("http://").partition(":")
        return host, int(port)

    def connect(self, timeout: float = 20.0) -> socket.socket:
        return socket.create_connection(self.address, timeout=timeout)

    def resident_mib(self) -> float:
        """Return the current memory of the server's process."""
        return _status_mib(self.child.process.pid, "VmRSS")

    def peak_mib(self) -> float:
        """Return the peak memory of the process since ``forget_peak``."""
        return _status_mib(self.child.process.pid, "VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.child.process.pid}/clear_refs").write_text("5")


@dataclass(frozen=True, slots=True)
class Disturbance:
    """The neighbour's longest gaps in seconds, and the server's memory in MiB."""

    undisturbed_s: float
    attacked_s: float
    before_mib: float
    peak_mib: float
    answer: object

    @property
    def ratio(self) -> float:
        """The longest gap under attack, as a multiple of the longest undisturbed one."""
        return self.attacked_s / max(self.undisturbed_s, FLOOR_S)


@contextmanager
def flooded(folder: Path, server: str = "") -> Iterator[Flooded]:
    """Run a server with ``server`` as the lines of its table ``[server]``."""
    endless = free_port()
    with ExitStack() as stack:
        simulators = [
            stack.enter_context(running("simulate", "--port", "0", folder=folder)) for _ in range(2)
        ]
        sim, other = (child.printed(r"at (http://\S+/v1)") for child in simulators)
        providers = {"sim": sim, "other": other, "endless": f"http://127.0.0.1:{endless}/v1"}
        (folder / "polyvox.toml").write_text(
            "\n".join(
                f'[providers.{name}]\nprotocol = "chat"\nbase_url = "{url}"\n'
                for name, url in providers.items()
            )
            + MODELS.format(other=other)
            + f"\n[server]\n{server}\n"
        )
        environ = {"POLYVOX_KEY": KEY}
        data = str(folder / "data")
        child = stack.enter_context(
            running("up", "--port", "0", "--data", data, folder=folder, environ=environ)
        )
        child.ready()
        yield Flooded(child, child.base_url, endless)


def disturbed(server: Flooded, attack: Callable[[Flooded], object]) -> Disturbance:
    """Attack ``server`` while a neighbour reads a stream; return the effect on the neighbour."""
    server.forget_peak()
    before = server.resident_mib()
    with neighbour(server.base_url, server.key, NEIGHBOUR) as reading:
        began = time.monotonic()
        time.sleep(UNDISTURBED_S)
        attacked = time.monotonic()
        answer = attack(server)
        ended = time.monotonic() + 0.5
        time.sleep(0.6)
    assert not reading.ended, f"the neighbour's stream broke: {reading.ended}"
    return Disturbance(
        undisturbed_s=reading.longest_gap_s(began, attacked),
        attacked_s=reading.longest_gap_s(attacked, ended),
        before_mib=before,
        peak_mib=server.peak_mib(),
        answer=answer,
    )


def _status_mib(pid: int, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found
    return int(found[1]) / 1024
