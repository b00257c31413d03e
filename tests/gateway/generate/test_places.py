"""The server's limit of runs: who finds no place gets an error in the protocol of the request."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from polyvox.worker.engine.ports import free_port
from tests.gateway.generate.test_failures import request
from tests.programs.running import ENVIRON, KEY, PATHS, PROTOCOLS, Live, live_program, until


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A program with one place for a run, and one in the queue."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    folder = tmp_path_factory.mktemp("small")
    limits = "max_runs = 1\nmax_queued = 1\nqueue_s = 60"
    dead = f"http://127.0.0.1:{free_port()}/v1"
    with live_program(folder, dead, environ, server=limits) as running:
        yield running


def test_a_server_without_a_place_says_so_in_each_protocol(small: Live) -> None:
    """The first runs, the second waits and is answered, the others are refused at once."""
    places = small.program.app.state.places
    with ThreadPoolExecutor(1) as pool:
        with httpx.stream(
            "POST",
            small.base_url + PATHS["chat"],
            json=request("chat", "sim-chat:main-n500-itl100", stream=True),
            headers={"x-api-key": KEY},
            trust_env=False,
        ):
            waiting = pool.submit(
                small.post, "chat", request("chat", "sim-chat:main", stream=False)
            )
            until(lambda: places.runs.waiting == 1, "the second request does not wait")
            refused = {
                protocol: small.post(
                    protocol, request(protocol, f"sim-{protocol}:main", stream=True)
                )
                for protocol in PROTOCOLS
            }
        assert waiting.result().status_code == 200
    assert {name: answer.status_code for name, answer in refused.items()} == {
        "chat": 503,
        "responses": 503,
        "messages": 529,
    }
    assert refused["messages"].json()["error"]["type"] == "overloaded_error"
    assert refused["chat"].json()["error"]["code"] == "server_is_overloaded"
    assert {answer.headers["retry-after"] for answer in refused.values()} == {"2"}
    until(lambda: places.runs.taken == 0, "a place was not given back")
