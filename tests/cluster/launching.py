"""How each image of the Compose file is run as a process of this machine."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.programs import Programs
from tests.cluster.topology import Place, Service

GUARD = Path(__file__).with_name("guard.py")
BIN = Path(sys.executable).parent

POSTGRES_DATA = "/var/lib/postgresql/data"
POLYVOX_DATA = "/data"

_PASSED_ON = ("HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME")

# The image renders the same file from the same variables, and listens on every address.
_UI_CONFIG = """\
# enable-template
temporalGrpcAddress: {{{{ env "TEMPORAL_ADDRESS" }}}}
host: {host}
port: 8080
publicPath: {{{{ env "TEMPORAL_UI_PUBLIC_PATH" | default "" }}}}
enableUi: true
defaultNamespace: default
disableNewsFetch: true
refreshInterval: 0s
cors: {{ allowOrigins: ["http://localhost:8080"] }}
"""


@dataclass(frozen=True, slots=True)
class Launch:
    """A command with everything it needs; ``user`` is empty for the one who starts the cluster."""

    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    user: str = ""
    stop_signal: signal.Signals = field(default=signal.SIGTERM)

    def guarded(self) -> list[str]:
        """Return the command behind the guard that ends it with this process."""
        guard = (sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), self.user)
        return [*guard, *self.command]


async def prepare(service: Service, place: Place, programs: Programs, files: Path) -> Launch:
    """Make the service's folder and return its launch. ``files`` replaces mounted files by name."""
    for target, source in service.mounts.items():
        replaced = files / source.name
        text = (replaced if replaced.exists() else source).read_text("utf-8")
        path = place.path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(place.text(text), "utf-8")
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        **service.environment,
    }
    match service.image:
        case "polyvox":
            data = place.path(POLYVOX_DATA)
            data.mkdir(parents=True, exist_ok=True)
            data.chmod(0o700)
            environment |= {"POLYVOX_DATA": str(data), "PYTHONUNBUFFERED": "1"}
            return Launch([str(BIN / "polyvox"), *service.command], environment, data)
        case "postgres":
            return await _postgres(service, place, programs, environment)
        case "temporalio/server":
            command = [str(programs.built["temporal-server"]), "--allow-no-auth", "start"]
            return Launch(command, environment, place.folder)
        case "temporalio/admin-tools":
            tools = place.path("/usr/local/bin")
            tools.mkdir(parents=True)
            (tools / "temporal-sql-tool").symlink_to(programs.built["temporal-sql-tool"])
            (tools / "temporal").symlink_to(programs.temporal_cli)
            environment["PATH"] = f"{tools}:{environment['PATH']}"
            return Launch([*service.entrypoint, *service.command], environment, place.folder)
        case "temporalio/ui":
            config = place.path("/config/docker.yaml")
            config.parent.mkdir(parents=True)
            config.write_text(_UI_CONFIG.format(host=place.address), "utf-8")
            where = ("--root", str(place.folder), "--config", "config", "--env", "docker")
            command = [str(programs.built["temporal-ui"]), *where, "start"]
            return Launch(command, environment, place.folder)
        case "haproxy":
            command = [str(programs.haproxy), *service.command[1:]]
            # What the image is stopped with: it ends after its last connection.
            return Launch(command, environment, place.folder, stop_signal=signal.SIGUSR1)
        case other:
            raise ValueError(f"There is no program for the image {other!r}.")


async def _postgres(
    service: Service, place: Place, programs: Programs, environment: dict[str, str]
) -> Launch:
    """Create the database cluster, as the image does at its first start."""
    data = place.path(POSTGRES_DATA)
    data.mkdir(parents=True)
    user = "postgres" if os.geteuid() == 0 else ""
    for folder in (place.folder, *place.path("/var").rglob("*"), place.path("/var")):
        folder.chmod(0o711)
    password = data.with_name("password")
    password.write_text(environment["POSTGRES_PASSWORD"], "utf-8")
    password.chmod(0o600)
    if user:
        shutil.chown(data, user)
        shutil.chown(password, user)
    data.chmod(0o700)
    owner = environment["POSTGRES_USER"]
    create = [
        *(str(programs.postgres / "initdb"), "-D", str(data), "-U", owner),
        *("--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"),
        # The data are thrown away.
        "--no-sync",
    ]
    process = await asyncio.create_subprocess_exec(
        *Launch(create, environment, data, user).guarded(),
        cwd="/",
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"initdb failed:\n{output.decode(errors='replace')}")
    command = [
        *(str(programs.postgres / "postgres"), "-D", str(data), *service.command[1:]),
        *("-c", f"listen_addresses={place.address}", "-c", "unix_socket_directories="),
    ]
    # SIGINT is a fast shutdown: connections are ended, transactions rolled back.
    return Launch(command, environment, data, user, stop_signal=signal.SIGINT)
