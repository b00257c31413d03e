"""What a running server says about itself in its data folder, for ``polyvox doctor``.

Commands have another environment than the server: a key that is set in one shell is not set in the
other. So the server stores the names, never the values, of the variables that it was started with.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from polyvox.activities.storage.private_files import write_private


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server as it was started: its address, its configuration and its environment.

    ``config_sha256`` is the hash of the file ``config`` when it was read, "" without a file.
    ``variables`` are the names of its environment variables that have a value.
    """

    pid: int
    version: str
    base_url: str
    port: int
    config: str
    config_sha256: str
    variables: tuple[str, ...]

    @property
    def config_changed(self) -> bool:
        """Whether the configuration file has other contents than when the server read it."""
        return bool(self.config) and digest_of_file(Path(self.config)) != self.config_sha256


def digest_of_file(file: Path) -> str:
    """Return the SHA-256 of a file in hex, "" if it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def running_server(
    *, version: str, base_url: str, port: int, config: Path | None, environ: Mapping[str, str]
) -> RunningServer:
    """Return the description of the server in this process."""
    return RunningServer(
        os.getpid(),
        version,
        base_url,
        port,
        str(config or ""),
        digest_of_file(config) if config else "",
        tuple(sorted(name for name, value in environ.items() if value.strip())),
    )


def write_server_file(data: Path, server: RunningServer) -> None:
    write_private(_file(data), json.dumps(asdict(server)).encode() + b"\n")


def remove_server_file(data: Path) -> None:
    _file(data).unlink(missing_ok=True)


def read_server_file(data: Path, holder: int | None) -> RunningServer | None:
    """Return the server whose process ``holder`` uses the folder, None if it wrote nothing."""
    try:
        document = json.loads(_file(data).read_text("utf-8"))
        server = RunningServer(**{**document, "variables": tuple(document["variables"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return server if server.pid == holder else None


def _file(data: Path) -> Path:
    return data / "server.json"
