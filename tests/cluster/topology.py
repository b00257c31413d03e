"""The services of ``docker-compose.yaml``, and where their parts are on one machine without Docker.

The bare-process cluster has no settings of its own: command lines, environment, mounted files,
health checks and the order of the start are those of the Compose file. Each service gets a loopback
address, and keeps its ports.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yaml"

OPEN_HOST = "0.0.0.0"
LOOPBACK = "127.0.0.1"

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)(?P<rule>:\?[^}]*|:-[^}]*)\}")
_SECONDS = re.compile(r"(\d+)s")


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the Compose file. ``mounts`` are files of the repository by their targets."""

    name: str
    image: str
    version: str
    entrypoint: list[str]
    command: list[str]
    environment: dict[str, str]
    mounts: dict[str, Path]
    depends_on: dict[str, str]
    health_check: list[str]
    stop_grace_s: float
    is_optional: bool

    @property
    def is_job(self) -> bool:
        """Whether it does its work and exits."""
        return self.image == "temporalio/admin-tools"


def read_services(variables: Mapping[str, str], file: Path = COMPOSE_FILE) -> dict[str, Service]:
    """Return the services of the Compose file by name, with ``variables`` for its ``${...}``.

    Raises KeyError for a required variable that is missing.
    """
    document = yaml.safe_load(file.read_text("utf-8"))
    return {
        name: _service(name, _filled(service, variables), variables, file.parent)
        for name, service in document["services"].items()
    }


def _service(
    name: str, service: Mapping[str, Any], variables: Mapping[str, str], folder: Path
) -> Service:
    image, _, version = service["image"].rpartition(":")
    mounts = [mount.split(":") for mount in service.get("volumes", [])]
    grace = _SECONDS.fullmatch(service.get("stop_grace_period", "10s"))
    assert grace, f"{name}: stop_grace_period is not in seconds"
    return Service(
        name=name,
        image=image,
        version=version,
        entrypoint=service.get("entrypoint", []),
        command=service.get("command", []),
        environment={
            key: str(variables[key] if value is None else value)
            for key, value in service.get("environment", {}).items()
            # Compose takes a variable without a value from the shell, if it is there.
            if value is not None or key in variables
        },
        mounts={target: folder / source for source, target, *_ in mounts if source.startswith(".")},
        depends_on={
            other: condition["condition"]
            for other, condition in service.get("depends_on", {}).items()
        },
        health_check=service.get("healthcheck", {}).get("test", [])[1:],
        stop_grace_s=float(grace[1]),
        is_optional="profiles" in service,
    )


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    """Return ``value`` with the variables in its texts replaced, as Compose does."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _value(found, variables), value)
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    return value


def _value(found: "re.Match[str]", variables: Mapping[str, str]) -> str:
    if value := variables.get(found["name"]):
        return value
    if found["rule"].startswith(":-"):
        return found["rule"][2:]
    raise KeyError(found["name"])


@dataclass(frozen=True, slots=True)
class Place:
    """Where one service is: its address, those of the others, and the folder that is its disk."""

    address: str
    addresses: Mapping[str, str]
    folder: Path

    def text(self, text: str) -> str:
        """Return ``text`` with addresses in place of names: ``NAME:PORT``, or a name alone.

        The address that means every network interface becomes the service's own.
        """
        if text in self.addresses:
            return self.addresses[text]
        names = "|".join(map(re.escape, self.addresses))
        located = re.sub(
            rf"(?<![\w.-])({names})(?=:\d)", lambda found: self.addresses[found[1]], text
        )
        return located.replace(OPEN_HOST, self.address)

    def path(self, path: str) -> Path:
        """Return where a path of the container is."""
        return self.folder / path.lstrip("/")


def located(service: Service, place: Place, absent: set[str]) -> Service:
    """Return ``service`` with the addresses and paths of ``place``.

    Variables that lead to a service in ``absent``, and waiting for it, are omitted.
    """

    def words(texts: list[str]) -> list[str]:
        return [_paths(place.text(text), service, place) for text in texts]

    return Service(
        name=service.name,
        image=service.image,
        version=service.version,
        entrypoint=service.entrypoint,
        command=words(service.command),
        environment={
            name: _paths(place.text(value), service, place)
            for name, value in service.environment.items()
            if not any(re.search(rf"\b{other}:\d", value) for other in absent)
        },
        mounts=service.mounts,
        depends_on={
            name: condition for name, condition in service.depends_on.items() if name not in absent
        },
        # In a container, the loopback address is its own.
        health_check=[
            word.replace(LOOPBACK, place.address) for word in words(service.health_check)
        ],
        stop_grace_s=service.stop_grace_s,
        is_optional=service.is_optional,
    )


def _paths(text: str, service: Service, place: Place) -> str:
    for target in service.mounts:
        text = text.replace(target, str(place.path(target)))
    return text
