"""Check that the bare-process cluster is the Compose file, without starting it."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.cluster.programs import GO_MODULES
from tests.cluster.running import (
    CLIENT_PORT,
    LANE,
    LANE_PORT,
    POSTGRES_PORT,
    TEMPORAL_PORT,
    UI_PORT,
    chosen,
)
from tests.cluster.topology import Place, Service, located, read_services

VARIABLES = {
    "POLYVOX_KEY": "user-key",
    "POLYVOX_ADMIN_KEY": "admin-key",
    "POLYVOX_DEPLOYMENT_KEY": "deployment-key",
    "POSTGRES_PASSWORD": "password",
}


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    return read_services(VARIABLES)


def placed(services: dict[str, Service], folder: Path) -> dict[str, Service]:
    """Return the services of the split cluster with addresses of their own."""
    here = chosen(services, "split", frozenset())
    addresses = {name: f"127.84.1.{number}" for number, name in enumerate(here, start=2)}
    return {
        name: located(
            service, Place(addresses[name], addresses, folder / name), {*services} - {*here}
        )
        for name, service in here.items()
    }


def test_every_service_runs_but_the_optional_ones(services: dict[str, Service]) -> None:
    """The collector has no program here; the S3 store is a profile of Compose."""
    assert {*services} - {*chosen(services, "split", frozenset())} == {"collector", "s3"}


def test_replicas_are_gateways_that_work(services: dict[str, Service]) -> None:
    """The same options and environment, with the command `up`."""
    split = chosen(services, "split", frozenset())
    replicas = chosen(services, "replicas", frozenset())
    assert {*split} - {*replicas} == {"worker-1", "worker-2"}
    for name in ("gateway-1", "gateway-2"):
        assert replicas[name].command == ["up", *split[name].command[1:]]
        assert replicas[name].environment == split[name].environment


def test_no_name_of_a_service_is_left(services: dict[str, Service], tmp_path: Path) -> None:
    """Without Docker no name resolves, and only loopback addresses are listened on."""
    names = "|".join(services)
    for name, service in placed(services, tmp_path).items():
        texts = [*service.command, *service.environment.values(), *service.health_check]
        for text in texts:
            assert not re.search(rf"\b({names}):\d", text), f"{name}: {text}"
            assert "0.0.0.0" not in text, f"{name}: {text}"


def test_mounted_files_lead_to_addresses_too(services: dict[str, Service], tmp_path: Path) -> None:
    """The load balancer's file names gateways and Temporal nodes."""
    place = Place("127.84.1.2", {"gateway-1": "127.84.1.3", "temporal-1": "127.84.1.4"}, tmp_path)
    [config] = services["balancer"].mounts.values()
    text = place.text(config.read_text("utf-8"))
    assert "server gateway-1 127.84.1.3:8484" in text
    assert "server temporal-1 127.84.1.4:7233" in text
    assert "bind 127.84.1.2:8484" in text


def test_variables_of_absent_services_are_omitted(
    services: dict[str, Service], tmp_path: Path
) -> None:
    """Spans would be sent to nobody; everything else is as in the Compose file."""
    here = placed(services, tmp_path)["worker-1"]
    assert {*services["worker-1"].environment} - {*here.environment} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT"
    }
    assert "collector" not in here.depends_on
    assert here.environment["POLYVOX_DATABASE"].startswith("postgresql://temporal:password@127.84.")


def test_a_required_variable_is_required(services: dict[str, Service]) -> None:
    """As with Compose."""
    with pytest.raises(KeyError, match="POLYVOX_KEY"):
        read_services({name: value for name, value in VARIABLES.items() if name != "POLYVOX_KEY"})


def test_programs_have_the_versions_of_the_images(services: dict[str, Service]) -> None:
    """A version is written once, in the Compose file; the server and its tools have one version."""
    versions = {image: set[str]() for image in GO_MODULES}
    for service in services.values():
        if service.image in versions:
            versions[service.image].add(service.version)
    assert all(len(each) == 1 for each in versions.values()), versions
    assert versions["temporalio/server"] == versions["temporalio/admin-tools"]


def test_processes_reach_each_other_at_their_own_addresses(
    services: dict[str, Service], tmp_path: Path
) -> None:
    """The settings of every process are one file; only the address in it is replaced."""
    place = Place("127.84.1.2", {}, tmp_path)
    [file] = services["worker-1"].mounts.values()
    shipped = tomllib.loads(file.read_text("utf-8"))["cluster"]
    assert shipped == tomllib.loads(LANE)["cluster"]
    here = tomllib.loads(place.text(file.read_text("utf-8")))["cluster"]
    assert here == shipped | {"host": "127.84.1.2"}


def test_the_ports_are_those_of_the_compose_file(
    services: dict[str, Service], tmp_path: Path
) -> None:
    """The cluster tells them to tests and to whoever starts it."""
    text = " ".join(
        value
        for service in services.values()
        for value in (*service.command, *service.environment.values(), *service.health_check)
    )
    for port in (CLIENT_PORT, LANE_PORT, POSTGRES_PORT, TEMPORAL_PORT, UI_PORT):
        assert str(port) in text
