"""Starts, stops, crashes: the program and its upstream as processes of their own."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyvox.worker.engine.ports import is_free, read_ports
from tests.gateway.generate.test_failures import error_in, events, request
from tests.programs.processes import Child, family_of, living, running
from tests.programs.running import until

KEY = "test-key"

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Child]:
    """``polyvox simulate`` on a free port."""
    with running("simulate", "--port", "0", folder=tmp_path) as child:
        yield child


Up = Callable[..., Any]


@pytest.fixture
def up(tmp_path: Path, simulator: Child) -> Up:
    """Return what runs ``polyvox up`` on the test's one data folder."""
    url = simulator.printed(r"at (http\S+)")
    lines = [f'[providers.sim]\nprotocol = "chat"\nbase_url = "{url}"']
    config = tmp_path / "polyvox.toml"
    config.write_text("\n".join(lines), "utf-8")

    def started(*arguments: str, **environ: str) -> Any:
        known = ("up", "--data", str(tmp_path / "data"), "--config", str(config), "--port", "0")
        return running(*known, *arguments, folder=tmp_path, environ=environ)

    return started


def post(child: Child, model: str, *, stream: bool, key: str = KEY) -> httpx.Response:
    return httpx.post(
        f"{child.base_url}/v1/chat/completions",
        json=request("chat", model, stream=stream),
        headers={"x-api-key": key},
        timeout=60,
        trust_env=False,
    )


def run_document(child: Child, path: str, key: str = KEY) -> Any:
    answer = httpx.get(
        f"{child.base_url}/api/runs{path}", headers={"x-api-key": key}, trust_env=False
    )
    return answer.json() if answer.is_success else {}


def asked_for(simulator: Child, model: str) -> int:
    """Return how many requests for ``model`` the simulator has seen."""
    url = simulator.printed(r"at (http\S+)").removesuffix("/v1")
    requests: dict[str, int] = httpx.get(f"{url}/stats", trust_env=False).json()["requests"]
    return requests.get(model, 0)


@linux
def test_a_second_start_finds_everything_as_it_was(up: Up, tmp_path: Path) -> None:
    """The same key, engine ports and runs; and no process is left behind after either stop."""
    ports_file = tmp_path / "data" / "engine" / "ports.json"
    with up() as first:
        first.ready()
        key, ports = first.key, read_ports(ports_file)
        run_id = post(first, "sim:main", stream=False, key=key).headers["x-polyvox-run"]
        family = family_of(first.process.pid)
        assert len(family) > 1
        assert first.stop() == 0
        assert living(family) == set()
    with up(POLYVOX_KEY=KEY) as second:
        second.ready()
        assert "the value of POLYVOX_KEY" in second.printed(r"(Key .*)")
        assert KEY not in second.output.read_text("utf-8")
        assert ports == read_ports(ports_file)
        assert post(second, "sim:main", stream=False, key=key).status_code == 200
        assert post(second, "sim:main", stream=False, key=KEY).status_code == 200
        assert run_document(second, f"/{run_id}", key)["status"] == "completed"
        assert run_document(second, f"/{run_id}") == {}
        family = family_of(second.process.pid)
        assert second.stop() == 0
        assert living(family) == set()


def test_a_stop_lets_a_running_stream_finish(up: Up) -> None:
    """SIGTERM in mid-stream: the client still gets the whole answer and its clean ending."""
    with up(POLYVOX_KEY=KEY) as child:
        child.ready()
        with httpx.stream(
            "POST",
            f"{child.base_url}/v1/chat/completions",
            json=request("chat", "sim:main-n30-itl50", stream=True),
            headers={"x-api-key": KEY},
            timeout=60,
            trust_env=False,
        ) as answer:
            chunks = answer.iter_bytes()
            first = next(chunks)
            with ThreadPoolExecutor(1) as pool:
                stopping = pool.submit(child.stop)
                body = first + b"".join(chunks)
                assert stopping.result() == 0
        assert body.endswith(b"data: [DONE]\n\n")
        assert b'"finish_reason":"stop"' in body


def test_clients_that_leave_are_no_news(up: Up) -> None:
    """It happens all day: nothing is printed about it, least of all a traceback."""
    with up(POLYVOX_KEY=KEY) as child:
        child.ready()
        for _ in range(5):
            with httpx.stream(
                "POST",
                f"{child.base_url}/v1/chat/completions",
                json=request("chat", "sim:main-n500-itl50", stream=True),
                headers={"x-api-key": KEY},
                timeout=60,
                trust_env=False,
            ) as answer:
                next(answer.iter_bytes())
        until(
            lambda: {run["status"] for run in run_document(child, "")["runs"]} == {"cancelled"},
            "a run goes on without its client",
        )
        assert child.stop() == 0
        assert "Traceback" not in (printed := child.output.read_text("utf-8"))
        assert "never retrieved" not in printed


def test_an_open_host_needs_a_key_that_somebody_chose(up: Up, tmp_path: Path) -> None:
    """Refused with what to do, and nothing is left running."""
    with up("--host", "0.0.0.0") as child:
        assert child.process.wait(60) == 1
        assert "POLYVOX_KEY" in child.output.read_text()
        ports = read_ports(tmp_path / "data" / "engine" / "ports.json")
        assert ports is None or is_free(ports.frontend)


def test_a_killed_provider_ends_the_stream_with_an_error(up: Up, simulator: Child) -> None:
    """The client sees an error in the stream, the ledger which call broke off and why."""
    with up(POLYVOX_KEY=KEY) as child:
        child.ready()
        with httpx.stream(
            "POST",
            f"{child.base_url}/v1/chat/completions",
            json=request("chat", "sim:main-n500-itl50", stream=True),
            headers={"x-api-key": KEY},
            timeout=60,
            trust_env=False,
        ) as answer:
            chunks = answer.iter_bytes()
            body = next(chunks)
            simulator.kill()
            body += b"".join(chunks)
        whole = httpx.Response(200, content=body)
        assert len(events(whole)) > 1
        error = error_in("chat", whole)
        assert error["code"] == "stream_cut"
        run_id = answer.headers["x-polyvox-run"]
        run = until(
            lambda: found if (found := run_document(child, f"/{run_id}")).get("calls") else None,
            "the call is not in the ledger",
        )
        assert run["calls"][0]["error"]["kind"] == "stream_cut"
        assert post(child, "sim:main", stream=False).status_code == 502
        assert child.stop() == 0
