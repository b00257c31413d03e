"""One running program for all tests of the gateway."""

import os
from collections.abc import Iterator

import pytest

from polyvox.worker.engine.ports import free_port
from tests.programs.clients import Client
from tests.programs.running import ENVIRON, PROTOCOLS, Live, live_program


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The program over a simulator of all three protocols; nobody listens at ``dead``."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    folder = tmp_path_factory.mktemp("live")
    with live_program(folder, f"http://127.0.0.1:{free_port()}/v1", environ) as running:
        yield running


@pytest.fixture(params=PROTOCOLS)
def client(live: Live, request: pytest.FixtureRequest) -> Iterator[Client]:
    """The official library of each protocol in turn."""
    client = Client(request.param, live.base_url)
    yield client
    client.close()
