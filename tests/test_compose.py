"""Check that the program accepts the settings in the compose file and the image."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from polyvox.worker.engine.child import UI_PATH
from polyvox.worker.settings.settings import load_settings
from tests.samples.known_settings import (
    OPENTELEMETRY_VARIABLES,
    environment_variables,
    parse_command,
)

ROOT = Path(__file__).parent.parent
SETTINGS = ROOT / "deploy" / "settings" / "polyvox.toml"
OBJECT_STORE_VARIABLES = {
    "AWS_ACCESS_KEY_ID",
    "AWS_ALLOW_HTTP",
    "AWS_ENDPOINT_URL",
    "AWS_SECRET_ACCESS_KEY",
}
"""Those that the client of S3-compatible stores reads."""
SECRET = re.compile(r"KEY|PASSWORD|PWD|SECRET|TOKEN")
FROM_OUTSIDE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)(?P<rule>:\?[^}]+|:-)\}")
"""A value from the operator: required with a reason, or empty by default."""
PASSWORD_OF_URL = re.compile(r"://[^:/]+:(.+)@")


def settings() -> dict[str, Any]:
    """Return the settings that every process of a deployment reads."""
    return tomllib.loads(SETTINGS.read_text("utf-8"))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text("utf-8"))
    return document


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


POLYVOX = ("gateway-1", "gateway-2", "worker-1", "worker-2")


@pytest.mark.parametrize("service", POLYVOX)
def test_the_program_knows_its_command_in_the_compose_file(
    compose: dict[str, Any], service: str
) -> None:
    """A renamed option must be noticed before a deployment."""
    parse_command([str(word) for word in compose["services"][service]["command"]])


def test_the_program_knows_the_settings_of_a_deployment() -> None:
    """One file for gateways, workers and replicas; a mistake would stop every one of them."""
    assert load_settings(SETTINGS, environ={}).server.drain_s == settings()["server"]["drain_s"]


@pytest.mark.parametrize("service", POLYVOX)
def test_the_program_knows_its_environment_in_the_compose_file(
    compose: dict[str, Any], service: str
) -> None:
    """A variable that the program does not read would have no effect."""
    given = {*compose["services"][service]["environment"]}
    assert given <= environment_variables() | OPENTELEMETRY_VARIABLES | OBJECT_STORE_VARIABLES


def test_gateways_and_workers_differ_in_their_names_alone(compose: dict[str, Any]) -> None:
    """Any of them can be replaced by another."""
    services = compose["services"]
    for role in ("gateway", "worker"):
        first, second = (
            yaml.safe_dump(services[f"{role}-{number}"]).replace(f"{role}-{number}", role)
            for number in (1, 2)
        )
        assert first == second
    assert services["temporal-1"] | {"depends_on": None} == services["temporal-2"] | {
        "depends_on": None
    }


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
            if SECRET.search(variable) and value is not None:
                assert FROM_OUTSIDE.fullmatch(str(value)), f"{name}: {variable}={value!r}"
            if password := PASSWORD_OF_URL.search(str(value)):
                assert FROM_OUTSIDE.fullmatch(password[1]), f"{name}: {variable}"


@pytest.mark.parametrize("service", POLYVOX)
def test_the_keys_of_the_deployment_are_required(compose: dict[str, Any], service: str) -> None:
    """Nothing listens on a network without keys that the operator chose, the same everywhere."""
    for name in ("POLYVOX_KEY", "POLYVOX_ADMIN_KEY", "POLYVOX_DEPLOYMENT_KEY"):
        asked = FROM_OUTSIDE.fullmatch(compose["services"][service]["environment"][name])
        assert asked
        assert asked["rule"].startswith(":?")


def test_only_the_load_balancer_is_published_and_gateways_lead_to_the_web_ui(
    compose: dict[str, Any],
) -> None:
    """Temporal and its Web UI have no authentication."""
    services = compose["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["balancer"]
    assert all(port.startswith("127.0.0.1:") for port in services["balancer"]["ports"])
    host, _, _ = services["gateway-1"]["environment"]["TEMPORAL_UI_ADDRESS"].partition(":")
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


@pytest.mark.parametrize("service", POLYVOX)
def test_the_container_gets_longer_to_stop_than_its_streams(
    compose: dict[str, Any], service: str
) -> None:
    """A shorter time would kill streams that the program still lets finish."""
    grace = compose["services"][service]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > settings()["server"]["drain_s"]


def test_what_runs_for_ever_is_restarted_and_checked(compose: dict[str, Any]) -> None:
    """A service without a health check is one whose image has no program to check it with."""
    for name, service in compose["services"].items():
        if name not in ("schema", "namespace"):
            assert service["restart"] in ("unless-stopped", "on-failure"), name
        if name not in ("schema", "namespace", "collector", "temporal-ui", "s3"):
            assert service["healthcheck"]["test"][0] == "CMD", name


def test_the_load_balancer_knows_every_gateway_and_temporal_node(compose: dict[str, Any]) -> None:
    """A member that is not in its file would get no request."""
    config = (ROOT / "deploy" / "compose" / "haproxy.cfg").read_text("utf-8")
    servers = re.findall(r"^  server (\S+) (\S+):(\d+)", config, re.M)
    services = compose["services"]
    assert all(name == host for name, host, _ in servers)
    assert {(name, port) for name, _, port in servers} == {
        *((name, "8484") for name in services if name.startswith("gateway-")),
        *((name, "7233") for name in services if re.fullmatch(r"temporal-\d", name)),
    }


def test_the_collector_receives_what_the_program_sends(compose: dict[str, Any]) -> None:
    """The endpoint names the collector's service and the port its OTLP receiver listens on."""
    collector = yaml.safe_load((ROOT / "deploy" / "compose" / "collector.yaml").read_text("utf-8"))
    endpoint = compose["services"]["worker-1"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    host, port = re.findall(r"^http://([a-z-]+):(\d+)$", endpoint)[0]
    assert host in compose["services"]
    assert collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(f":{port}")
    pipelines = collector["service"]["pipelines"].values()
    for part in ("receivers", "processors", "exporters"):
        assert {name for line in pipelines for name in line[part]} <= {*collector[part]}


def test_the_dynamic_configuration_lists_values(compose: dict[str, Any]) -> None:
    """Temporal takes a list of constrained values for each key."""
    path = compose["services"]["temporal-1"]["environment"]["DYNAMIC_CONFIG_FILE_PATH"]
    mounts = [mount.split(":") for mount in compose["services"]["temporal-1"]["volumes"]]
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
