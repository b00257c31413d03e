"""Check the Kubernetes manifests, and that they have the settings of the Compose file."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.test_compose import OBJECT_STORE_VARIABLES, ROOT, settings

FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.34"
ROLES = ("gateway", "worker")
HOST = re.compile(r"^(.*//)?[\w.()$-]+:(\d+)$")


def read(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text("utf-8")))


@pytest.fixture(scope="module")
def kustomization() -> dict[str, Any]:
    [document] = read(FOLDER / "kustomization.yaml")
    return dict(document)


@pytest.fixture(scope="module")
def manifests(kustomization: dict[str, Any]) -> list[dict[str, Any]]:
    files = [FOLDER / name for name in kustomization["resources"]]
    return [document for file in files if file.is_file() for document in read(file)]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    [document] = read(ROOT / "docker-compose.yaml")
    return dict(document["services"])


def found(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    [manifest] = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return manifest


def pod(manifests: list[dict[str, Any]], role: str) -> dict[str, Any]:
    spec: dict[str, Any] = found(manifests, "Deployment", role)["spec"]["template"]["spec"]
    return spec


def literals(kustomization: dict[str, Any]) -> dict[str, str]:
    """Return the variables that the ConfigMap gives to gateways and workers."""
    [generator] = kustomization["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generator["literals"])


def without_host(value: str) -> str:
    """Return an address as its scheme and port: names of hosts differ between deployments."""
    return HOST.sub(r"\1:\2", value)


def test_kubernetes_accepts_every_manifest(manifests: list[dict[str, Any]]) -> None:
    """The schemas are those of the API server, and refuse members that it does not know."""
    assert len(manifests) == 6
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_an_unknown_member_is_noticed(manifests: list[dict[str, Any]]) -> None:
    """Otherwise the test above could pass by accepting everything."""
    wrong = found(manifests, "Service", "polyvox") | {"ports": []}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("role", ROLES)
def test_the_command_is_that_of_the_compose_file(
    manifests: list[dict[str, Any]], services: dict[str, Any], role: str
) -> None:
    """One program, one command line."""
    assert pod(manifests, role)["containers"][0]["args"] == services[f"{role}-1"]["command"]


@pytest.mark.parametrize("role", ROLES)
def test_the_environment_is_that_of_the_compose_file(
    manifests: list[dict[str, Any]],
    kustomization: dict[str, Any],
    services: dict[str, Any],
    role: str,
) -> None:
    """Values are equal apart from hosts; what the operator gives comes from the Secret."""
    given = {
        name: str(value)
        for name, value in services[f"{role}-1"]["environment"].items()
        if value is not None and "${" not in str(value)
    }
    [container] = pod(manifests, role)["containers"]
    assert "env" not in container
    here = literals(kustomization)
    assert {name: without_host(value) for name, value in here.items()} == {
        name: without_host(value) for name, value in given.items()
    }
    assert container["envFrom"] == [
        {"configMapRef": {"name": "polyvox-environment"}},
        {"secretRef": {"name": "polyvox"}},
    ]


def test_the_page_names_every_value_of_the_secret(services: dict[str, Any]) -> None:
    """What the Compose file takes from outside must be in the Secret."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    outside = {
        name
        for name, value in services["worker-1"]["environment"].items()
        if (value is None or "${" in str(value)) and name not in OBJECT_STORE_VARIABLES
    }
    assert {name for name in outside if name not in page} == set()


def test_both_mount_one_settings_file(
    manifests: list[dict[str, Any]], kustomization: dict[str, Any], services: dict[str, Any]
) -> None:
    """It is not copied, so that it cannot differ."""
    [base] = read(ROOT / "deploy" / "settings" / "kustomization.yaml")
    assert "../settings" in kustomization["resources"]
    [generator] = base["configMapGenerator"]
    assert generator["files"] == ["polyvox.toml"]
    for role in ROLES:
        assert (
            "./deploy/settings/polyvox.toml:/data/polyvox.toml:ro"
            in (services[f"{role}-1"]["volumes"])
        )
        spec = pod(manifests, role)
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        [mount] = [m for m in spec["containers"][0]["volumeMounts"] if "subPath" in m]
        assert mount["mountPath"] == "/data/polyvox.toml"
        assert mount["subPath"] == "polyvox.toml"
        assert volumes[mount["name"]]["configMap"]["name"] == generator["name"]


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_gets_longer_to_stop_than_its_streams(
    manifests: list[dict[str, Any]], role: str
) -> None:
    """Kubernetes counts the preStop hook too."""
    spec = pod(manifests, role)
    hook = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > hook + settings()["server"]["drain_s"]


@pytest.mark.parametrize("role", ROLES)
def test_probes_ask_the_port_of_the_compose_file(
    manifests: list[dict[str, Any]], services: dict[str, Any], role: str
) -> None:
    """Readiness and the health check of Compose are one question."""
    [container] = pod(manifests, role)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["lane"] == settings()["cluster"]["port"]
    readiness = container["readinessProbe"]["httpGet"]
    check = services[f"{role}-1"]["healthcheck"]["test"][-1]
    assert f":{ports[readiness['port']]}{readiness['path']}'" in check
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == readiness | {"path": "/healthz"}


def test_the_service_has_the_port_of_the_load_balancer(
    manifests: list[dict[str, Any]], services: dict[str, Any]
) -> None:
    """Clients find the gateways, and only those."""
    spec = found(manifests, "Service", "polyvox")["spec"]
    labels = found(manifests, "Deployment", "gateway")["spec"]["template"]["metadata"]["labels"]
    assert spec["selector"] == labels
    assert [f"127.0.0.1:{port['port']}:8484" for port in spec["ports"]] == (
        services["balancer"]["ports"]
    )


@pytest.mark.parametrize("role", ROLES)
def test_a_disruption_takes_one_pod_at_a_time(manifests: list[dict[str, Any]], role: str) -> None:
    """A node that is drained does not take all gateways or workers with it."""
    budget = found(manifests, "PodDisruptionBudget", role)["spec"]
    deployment = found(manifests, "Deployment", role)["spec"]
    assert budget["selector"] == deployment["selector"]
    assert budget["maxUnavailable"] < deployment["replicas"]
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
