"""A provider with a limit of concurrent calls, and one that keeps failing."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from polyvox.worker.engine.ports import free_port
from tests.gateway.generate.test_failures import request
from tests.programs.recording_provider import (
    Received,
    RecordingProvider,
    chat_answer,
    recording_provider,
)
from tests.programs.running import ENVIRON, PROTOCOLS, Live, live_program, until

FAILURES = 5
LIMITS = f"max_queued = 1\nqueue_s = 60\nbreaker_failures = {FAILURES}\nbreaker_open_s = 60"
"""Open for so long that no test sees it half-open."""


@dataclass
class Upstream:
    """A provider whose model ``broken`` fails, and whose model ``slow`` waits for ``go``."""

    provider: RecordingProvider
    go: threading.Event

    def asked(self, model: str) -> int:
        return len([one for one in self.provider.received if one.body["model"] == model])


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    go = threading.Event()

    def answer(received: Received) -> tuple[int, Any]:
        match received.body["model"]:
            case "broken":
                return 500, {"error": {"message": "It is broken."}}
            case "refuses":
                return 400, {"error": {"message": "The request is wrong."}}
            case "slow":
                go.wait(60)
        return 200, chat_answer()

    with recording_provider(answer) as provider:
        yield Upstream(provider, go)
        go.set()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Live]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    address = f'protocol = "chat"\nbase_url = "{upstream.provider.url}"\n'
    more = (
        f"[providers.odd]\n{address}[providers.single]\n{address}max_concurrent = 1\n"
        '[models.falls-back]\nflow = "router"\n[models.falls-back.params]\n'
        'default = "odd:broken"\nfallbacks = ["odd:good"]\n'
    )
    dead = f"http://127.0.0.1:{free_port()}/v1"
    folder = tmp_path_factory.mktemp("limits")
    with live_program(folder, dead, environ, server=LIMITS, more=more) as running:
        yield running


def test_a_provider_that_keeps_failing_is_not_asked(live: Live, upstream: Upstream) -> None:
    """Its last error is the answer at once, a fallback is used at once, /readyz stays green."""
    document = request("chat", "odd:broken", stream=False)
    while upstream.asked("broken") < FAILURES:
        assert live.post("chat", document).status_code == 500
    for protocol in PROTOCOLS:
        refused = live.post(protocol, request(protocol, "odd:broken", stream=False))
        assert refused.status_code == 500
        assert "5 times in a row" in refused.json()["error"]["message"]
        assert int(refused.headers["retry-after"]) > 4
    assert live.post("chat", request("chat", "falls-back", stream=False)).status_code == 200
    assert upstream.asked("broken") == FAILURES
    assert live.post("chat", request("chat", "odd:good", stream=False)).status_code == 200
    assert live.ask("/readyz").status_code == 200


def test_requests_that_a_provider_refuses_do_not_count(live: Live, upstream: Upstream) -> None:
    document = request("chat", "odd:refuses", stream=False)
    for _ in range(2 * FAILURES):
        assert live.post("chat", document).status_code == 400
    assert upstream.asked("refuses") == 2 * FAILURES


def test_calls_above_a_provider_s_limit_wait_or_get_429(live: Live, upstream: Upstream) -> None:
    """One is asked, one waits and is answered, the others are refused in each protocol."""
    queue = live.program.runtime.gates._queues["single"]
    document = request("chat", "single:slow", stream=False)
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(live.post, "chat", document)
        until(lambda: upstream.asked("slow") == 1, "the provider was not asked")
        waiting = pool.submit(live.post, "chat", document)
        until(lambda: queue.waiting == 1, "the second call does not wait")
        for protocol in PROTOCOLS:
            refused = live.post(protocol, request(protocol, "single:slow", stream=True))
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) > 4
            assert "max_concurrent" in refused.json()["error"]["message"]
        assert upstream.asked("slow") == 1
        upstream.go.set()
        assert asked.result().status_code == waiting.result().status_code == 200
    until(lambda: queue.taken == 0, "a place was not given back")
