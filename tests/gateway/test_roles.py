"""Gateways and workers as processes of their own, over one engine and one database."""

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.gateway.generate.test_failures import request
from tests.programs.deployment import DEPLOYMENT_KEY, KEY, Deployment, deployment
from tests.programs.processes import Child, running
from tests.programs.running import until

PER_S = 20
SERVER = "drain_s = 2\ndrain_delay_s = 1.5\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("deployment"), SERVER) as running_here:
        yield running_here


@pytest.fixture(scope="module")
def gateway(shared: Deployment) -> Iterator[Child]:
    with shared.process("gateway", "gateway") as child:
        child.ready()
        yield child


def worker_ready(child: Child) -> Child:
    """Return when calls can be made."""
    url = child.printed(r"Probes: (\S+)")
    until(lambda: httpx.get(url, trust_env=False).is_success, "the worker is not ready")
    return child


def ask(gateway: Child, model: str, *, stream: bool) -> httpx.Response:
    return httpx.post(
        f"{gateway.base_url}/v1/chat/completions",
        json=request("chat", model, stream=stream),
        headers={"x-api-key": KEY},
        timeout=60,
        trust_env=False,
    )


def stats(shared: Deployment, what: str, model: str) -> int:
    """Return how many requests or disconnects the simulator has seen of a model."""
    seen: dict[str, int] = httpx.get(f"{shared.simulator}/stats", trust_env=False).json()[what]
    return seen.get(model, 0)


def run_of(gateway: Child, run_id: str) -> Any:
    url = f"{gateway.base_url}/api/runs/{run_id}"
    return httpx.get(url, headers={"x-api-key": KEY}, trust_env=False).json()


def text_of(stream: bytes) -> str:
    lines = [line[6:] for line in stream.decode().split("\n\n") if line.startswith("data: {")]
    deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def test_tokens_cross_while_the_model_still_writes(shared: Deployment, gateway: Child) -> None:
    """Not only the whole answer at the end; and the stream is the same as the answer."""
    with shared.process("worker", "worker-1") as worker:
        worker_ready(worker)
        with httpx.stream(
            "POST",
            f"{gateway.base_url}/v1/chat/completions",
            json=request("chat", "sim:main-n40-itl50", stream=True),
            headers={"x-api-key": KEY},
            timeout=60,
            trust_env=False,
        ) as answer:
            chunks = answer.iter_bytes()
            body = next(chunk for chunk in chunks if b"content" in chunk)
            run_id = answer.headers["x-polyvox-run"]
            assert run_of(gateway, run_id)["status"] == "running"
            body += b"".join(chunks)
        assert body.endswith(b"data: [DONE]\n\n")
        whole = ask(gateway, "sim:main-n40-itl50", stream=False).json()
        assert text_of(body) in whole["choices"][0]["message"]["content"]
        assert run_of(gateway, run_id)["status"] == "completed"


def test_a_client_that_leaves_ends_the_call_of_a_worker(shared: Deployment, gateway: Child) -> None:
    """Before the first byte and in the middle of the stream."""
    with shared.process("worker", "worker-1") as worker:
        worker_ready(worker)
        for model in ("main-n300-itl50-idleave", "main-ttft20000-idleave"):
            _leave_after_asking(shared, gateway, model)


def _leave_after_asking(shared: Deployment, gateway: Child, model: str) -> None:
    body = json.dumps(request("chat", f"sim:{model}", stream=True)).encode()
    address = urlsplit(gateway.base_url)
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\nx-api-key: {KEY}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        until(lambda: stats(shared, "requests", model), "the model was not asked")
    until(lambda: stats(shared, "disconnects", model), "the call was not ended")


def test_the_call_of_a_stopping_worker_goes_on_elsewhere(
    shared: Deployment, gateway: Child
) -> None:
    """Its client has seen nothing, so another worker makes it again."""
    with shared.process("worker", "worker-1") as first, ThreadPoolExecutor(1) as pool:
        worker_ready(first)
        model = "main-stall0x1-idmoved"
        answer = pool.submit(ask, gateway, f"sim:{model}", stream=False)
        until(lambda: stats(shared, "requests", model) == 1, "the model was not asked")
        with shared.process("worker", "worker-2") as second:
            worker_ready(second)
            assert first.stop() == 0
            done = answer.result()
            assert done.status_code == 200, done.text
            run = run_of(gateway, done.headers["x-polyvox-run"])
            assert [call["status"] for call in run["calls"]] == ["failed", "completed"]
            assert run["calls"][0]["error"]["kind"] == "overloaded"


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    """Two gateways and two workers, each restarted in turn, under 20 requests a second."""
    with deployment(tmp_path, "drain_s = 30\ndrain_delay_s = 1.5\n") as restarted:
        asyncio.run(_restarted_in_turn(restarted))


async def _restarted_in_turn(shared: Deployment) -> None:
    names = ("gateway-a", "gateway-b", "worker-a", "worker-b")
    load = Load()
    held: dict[str, Any] = {}

    def start(name: str) -> None:
        role = name.partition("-")[0]
        held[name] = context = shared.process(role, name)
        child = context.__enter__()
        if role == "gateway":
            load.gateways[name] = child.base_url
            until(lambda: load.is_ready(name), "the gateway is not ready")
        else:
            worker_ready(child)
        children[name] = child

    children: dict[str, Child] = {}
    try:
        for name in names:
            await asyncio.to_thread(start, name)
        sending = asyncio.create_task(load.send())
        for name in names:
            await asyncio.sleep(1.0)
            assert await asyncio.to_thread(children[name].stop) == 0
            held.pop(name).__exit__(None, None, None)
            await asyncio.to_thread(start, name)
        load.stop()
        await sending
    finally:
        for context in held.values():
            context.__exit__(None, None, None)
    assert load.sent > 100
    assert not load.failed


class Load:
    """Clients that follow the readiness of the gateways."""

    def __init__(self) -> None:
        self.gateways: dict[str, str] = {}
        self.sent = 0
        self.failed: list[str] = []
        self._ready: dict[str, bool] = {}
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def is_ready(self, name: str) -> bool:
        try:
            return httpx.get(f"{self.gateways[name]}/readyz", trust_env=False).is_success
        except httpx.TransportError:
            return False

    async def send(self) -> None:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            looking = asyncio.create_task(self._look())
            async with asyncio.TaskGroup() as asking:
                while not self._stopped:
                    asking.create_task(self._ask(client))
                    await asyncio.sleep(1 / PER_S)
            looking.cancel()

    async def _look(self) -> None:
        while True:
            for name in list(self.gateways):
                self._ready[name] = await asyncio.to_thread(self.is_ready, name)
            await asyncio.sleep(0.1)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        names = [name for name, ready in self._ready.items() if ready]
        if not names:
            return
        self.sent += 1
        stream = self.sent % 2 == 0
        base_url = self.gateways[names[self.sent % len(names)]]
        try:
            answer = await client.post(
                f"{base_url}/v1/chat/completions",
                json=request("chat", "sim:main-n10-itl20", stream=stream),
                headers={"x-api-key": KEY},
            )
        except httpx.HTTPError as error:
            self.failed.append(f"{self.sent}: {error!r}")
            return
        whole = answer.content.endswith(b"data: [DONE]\n\n") if stream else answer.is_success
        if answer.status_code != 200 or not whole:
            self.failed.append(f"{self.sent}: {answer.status_code} {answer.text[-300:]}")


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (("gateway",), {}, "needs the Temporal cluster"),
        (("worker", "--engine", "127.0.0.1:1"), {}, "needs the database"),
        (
            ("worker", "--engine", "127.0.0.1:1", "--database", "sqlite:////tmp/x.db"),
            {},
            "needs the blobs",
        ),
        (
            (
                *("gateway", "--engine", "127.0.0.1:1", "--database", "sqlite:////tmp/x.db"),
                *("--blobs", "sqlite:////tmp/y.db"),
            ),
            {},
            "POLYVOX_DEPLOYMENT_KEY",
        ),
        (("gateway",), {"POLYVOX_DEPLOYMENT_KEY": DEPLOYMENT_KEY[:20]}, "20 characters"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str], message: str
) -> None:
    with running(*arguments, "--data", str(tmp_path / "d"), folder=tmp_path, environ=environ) as c:
        assert c.process.wait(60) == 1
        assert message in c.output.read_text("utf-8")
