"""Check that the program accepts the settings in the compose file and the image."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from polyvox.worker.engine.child import UI_PATH
from polyvox.worker.settings.file import ServerSettings
from tests.samples.known_settings import (
    OPENTELEMETRY_VARIABLES,
    environment_variables,
    parse_command,
)

ROOT = Path(__file__).parent.parent
SECRET = re.compile(r"KEY|PASSWORD|PWD|SECRET|TOKEN")
FROM_OUTSIDE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)(?P<rule>:\?[^}]+|:-)\}")
"""A value from the operator: required with a reason, or empty by default."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text("utf-8"))
    return document


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


def test_the_program_knows_its_command_in_the_compose_file(compose: dict[str, Any]) -> None:
    """A renamed option must be noticed before a deployment."""
    parse_command([str(word) for word in compose["services"]["polyvox"]["command"]])


def test_the_program_knows_its_environment_in_the_compose_file(compose: dict[str, Any]) -> None:
    """A variable that the program does not read would have no effect."""
    given = {*compose["services"]["polyvox"]["environment"]}
    assert given <= environment_variables() | OPENTELEMETRY_VARIABLES


def test_the_program_knows_what_the_image_tells_it(dockerfile: str) -> None:
    """The program also accepts the image's command and variables."""
    entry, command = (
        yaml.safe_load(re.findall(rf"^{word} (\[.*\])$", dockerfile, re.M)[-1])
        for word in ("ENTRYPOINT", "CMD")
    )
    assert entry == ["polyvox"]
    parse_command(command)
    final_stage = dockerfile.rpartition("\nFROM ")[2]
    variables = {
        word.partition("=")[0]
        for line in re.findall(r"^ENV (.*)$", final_stage, re.M)
        for word in shlex.split(line)
    }
    assert variables <= environment_variables() | {"PYTHONUNBUFFERED"}


def test_the_image_does_not_run_as_root(dockerfile: str) -> None:
    """The last USER takes effect, and it is not root."""
    assert re.findall(r"^USER (\S+)$", dockerfile, re.M)[-1] not in {"root", "0"}


def test_the_image_takes_nothing_from_a_registry_without_its_hash(dockerfile: str) -> None:
    """The build backend is executed too."""
    installs = re.findall(r"pip install [^&\n]*", dockerfile)
    assert installs
    assert all("--require-hashes" in line or "--no-index" in line for line in installs), installs


def test_every_image_has_a_version(compose: dict[str, Any], dockerfile: str) -> None:
    """Two deployments of one commit use the same versions of all images."""
    services = compose["services"].values()
    images = [service["image"] for service in services if "build" not in service]
    images += [line.split()[0] for line in re.findall(r"^FROM (.*)$", dockerfile, re.M)]
    assert all(re.search(r":v?\d+\.\d+", image) for image in images), images


def test_no_secret_stands_in_the_compose_file(compose: dict[str, Any]) -> None:
    """Everybody would know a default password."""
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert FROM_OUTSIDE.fullmatch(str(value)), f"{name}: {variable}={value!r}"


def test_the_key_of_the_server_is_required(compose: dict[str, Any]) -> None:
    """Nothing listens on a network without a key that the operator chose."""
    asked = FROM_OUTSIDE.fullmatch(compose["services"]["polyvox"]["environment"]["POLYVOX_KEY"])
    assert asked
    assert asked["rule"].startswith(":?")


def test_only_the_server_is_published_and_leads_to_the_web_ui(compose: dict[str, Any]) -> None:
    """Temporal and its Web UI have no authentication."""
    services = compose["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["polyvox"]
    host, _, _ = services["polyvox"]["environment"]["TEMPORAL_UI_ADDRESS"].partition(":")
    assert services[host]["environment"]["TEMPORAL_UI_PUBLIC_PATH"] == UI_PATH


def test_what_the_compose_file_mounts_is_there(compose: dict[str, Any]) -> None:
    """Every file is in the repository, and every volume and every service it names is declared."""
    services, volumes = compose["services"], compose["volumes"]
    for service in services.values():
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), source
            else:
                assert source in volumes
        assert {*service.get("depends_on", {})} <= {*services}


def test_the_container_gets_longer_to_stop_than_its_streams(compose: dict[str, Any]) -> None:
    """A shorter time would kill streams that the program still lets finish."""
    grace = compose["services"]["polyvox"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > ServerSettings().drain_s


def test_the_collector_receives_what_the_program_sends(compose: dict[str, Any]) -> None:
    """The endpoint names the collector's service and the port its OTLP receiver listens on."""
    collector = yaml.safe_load((ROOT / "docker" / "collector.yaml").read_text("utf-8"))
    endpoint = compose["services"]["polyvox"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    host, port = re.findall(r"^http://([a-z-]+):(\d+)$", endpoint)[0]
    assert host in compose["services"]
    assert collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(f":{port}")
    pipelines = collector["service"]["pipelines"].values()
    for part in ("receivers", "processors", "exporters"):
        assert {name for line in pipelines for name in line[part]} <= {*collector[part]}


def test_the_dynamic_configuration_lists_values(compose: dict[str, Any]) -> None:
    """Temporal takes a list of constrained values for each key."""
    path = compose["services"]["temporal"]["environment"]["DYNAMIC_CONFIG_FILE_PATH"]
    mounts = [mount.split(":") for mount in compose["services"]["temporal"]["volumes"]]
    sources = [source for source, target, *_ in mounts if target == path]
    assert len(sources) == 1
    keys = yaml.safe_load((ROOT / sources[0]).read_text("utf-8"))
    assert all([*entry] == ["value"] for entries in keys.values() for entry in entries)


def test_docker_compose_accepts_the_file() -> None:
    """`docker compose config` accepts the file."""
    docker = shutil.which("docker")
    found = docker and subprocess.run(
        [docker, "compose", "version"], capture_output=True, check=False
    )
    if not found or found.returncode != 0:
        pytest.skip("docker compose is not installed here")
    command = [str(docker), "compose", "--file", str(ROOT / "docker-compose.yaml"), "config"]
    names = (ROOT / "docker-compose.yaml").read_text("utf-8")
    required = {match["name"]: "test-key" for match in FROM_OUTSIDE.finditer(names)}
    done = subprocess.run(
        [*command, "--quiet"],
        capture_output=True,
        check=False,
        text=True,
        env={"PATH": "/usr/bin:/bin"} | required,
    )
    assert done.returncode == 0, done.stderr


def test_a_command_the_program_does_not_have_is_noticed() -> None:
    """Otherwise the tests above could pass by accepting everything."""
    with pytest.raises(KeyError):
        parse_command(["no-such-command"])
