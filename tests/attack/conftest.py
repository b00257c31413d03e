"""A real server in a separate process, as an attacker would find it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs.processes import Child, running

KEY = "attack-users-key"
ADMIN_KEY = "attack-admin-key"


@dataclass(frozen=True, slots=True)
class Target:
    """A running ``polyvox up`` over the built-in simulator, with a key of each role."""

    child: Child
    base_url: str
    data: Path
    key: str = KEY
    admin_key: str = ADMIN_KEY


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The server under attack; it is the same one for all tests, so it must survive each."""
    folder = tmp_path_factory.mktemp("target")
    data = folder / "data"
    environ = {"POLYVOX_KEY": KEY, "POLYVOX_ADMIN_KEY": ADMIN_KEY}
    with running("up", "--port", "0", "--data", str(data), folder=folder, environ=environ) as child:
        yield Target(child.ready(), child.base_url, data)
