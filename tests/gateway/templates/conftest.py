"""One running program with a model of every template, for all tests of the templates."""

import os
from collections.abc import Iterator

import pytest

from polyvox.worker.engine.ports import free_port
from tests.programs.running import ENVIRON, Live, live_program
from tests.programs.template_stories import MODELS


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    folder = tmp_path_factory.mktemp("templates")
    dead = f"http://127.0.0.1:{free_port()}/v1"
    with live_program(folder, dead, environ, MODELS) as running:
        yield running
