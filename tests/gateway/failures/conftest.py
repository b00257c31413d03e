"""One running program over a provider that fails in every way, in every protocol."""

import os
from collections.abc import Iterator

import pytest

from polyvox.worker.engine.ports import free_port
from tests.programs.failing_provider import ANSWERS, KEY, failing_provider
from tests.programs.running import ENVIRON, PROTOCOLS, Live, live_program


def tables(url: str) -> str:
    """Return providers ``KIND-PROTOCOL``, and models of the flows that ask several."""
    lines = []
    for kind in ANSWERS:
        base = f"{url}/{kind}" if kind == "bare" else f"{url}/{kind}/v1"
        for protocol in PROTOCOLS:
            lines += [
                f'[providers.{kind}-{protocol}]\nprotocol = "{protocol}"',
                f'base_url = "{base}"\napi_key_env = "FAILING_KEY"',
            ]
    for protocol in PROTOCOLS:
        long, down = f"long-{protocol}:m", f"down-{protocol}:m"
        lines += [
            f'[models.router-{protocol}]\nflow = "router"\n[models.router-{protocol}.params]',
            f'default = "{long}"\nfallbacks = ["key-{protocol}:m", "denied-{protocol}:m"]',
            f'[models.waits-{protocol}]\nflow = "router"\n[models.waits-{protocol}.params]',
            f'default = "rate-{protocol}:m"\nfallbacks = ["later-{protocol}:m", "{down}"]',
            f'[models.fusion-{protocol}]\nflow = "fusion"\n[models.fusion-{protocol}.params]',
            f'main = "key-{protocol}:m"\npanel = ["{long}", "denied-{protocol}:m"]',
            f'judge = "key-{protocol}:m"\nmode = "required"',
            f'[models.verify-{protocol}]\nflow = "verify"\n[models.verify-{protocol}.params]',
            f'model = "{long}"',
        ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def failing() -> Iterator[str]:
    with failing_provider() as url:
        yield url


@pytest.fixture(scope="session")
def live(failing: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    environ["FAILING_KEY"] = KEY
    folder = tmp_path_factory.mktemp("failing")
    dead = f"http://127.0.0.1:{free_port()}/v1"
    with live_program(folder, dead, environ, tables(failing)) as running:
        yield running
