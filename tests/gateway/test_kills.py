"""kill -9 of the program at held points: what was bought has a row, and nothing is bought twice."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.gateway.generate.test_failures import request
from tests.gateway.test_processes import KEY, asked_for, post, run_document
from tests.programs.processes import Child, running
from tests.programs.running import until

SLOW = "main-ttft1500"

Up = Callable[[], Any]


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Child]:
    with running("simulate", "--port", "0", folder=tmp_path) as child:
        yield child


@pytest.fixture
def up(tmp_path: Path, simulator: Child) -> Up:
    """Return what runs ``polyvox up`` on the test's one data folder."""
    url = simulator.printed(r"at (http\S+)")
    config = tmp_path / "polyvox.toml"
    provider = f'[providers.sim]\nprotocol = "chat"\nbase_url = "{url}"\n'
    config.write_text(f"[server]\norphans_s = 0\n{provider}", "utf-8")
    arguments = ("up", "--data", str(tmp_path / "data"), "--config", str(config), "--port", "0")
    return lambda: running(*arguments, folder=tmp_path, environ={"POLYVOX_KEY": KEY})


def in_background(child: Child, model: str) -> str:
    """Start a background response; return its id."""
    answer = httpx.post(
        f"{child.base_url}/v1/responses",
        json={**request("responses", model, stream=False), "background": True},
        headers={"x-api-key": KEY},
        timeout=60,
        trust_env=False,
    )
    response_id: str = answer.raise_for_status().json()["id"]
    return response_id


def only_run(child: Child) -> Any:
    """Return the only run with its calls; it may have none yet."""
    runs = run_document(child, "").get("runs") or [{}]
    return run_document(child, f"/{runs[0]['run_id']}") if runs[0] else {}


def ended(child: Child) -> Any:
    return until(
        lambda: run if (run := only_run(child)).get("status") not in (None, "running") else None,
        "the run has not ended",
    )


def none_running(child: Child) -> Any:
    """Return all runs, None while one runs."""
    runs = run_document(child, "?limit=1000").get("runs", [])
    return runs if all(run["status"] != "running" for run in runs) else None


def ended_calls(child: Child, runs: list[Any]) -> Any:
    """Return the calls of all ``runs``, None while one runs."""
    documents = [run_document(child, f"/{run['run_id']}") for run in runs]
    calls = [call for run in documents for call in run["calls"]]
    return calls if "running" not in {call["status"] for call in calls} else None


def all_ended(child: Child) -> Any:
    """Return the only run, None while one of its calls runs."""
    run = only_run(child)
    return run if "running" not in {call["status"] for call in run["calls"]} else None


def attempts(run: Any) -> list[tuple[int, str]]:
    return [(call["attempt"], call["status"]) for call in run["calls"]]


def engine_of(child: Child) -> psutil.Process:
    (engine,) = psutil.Process(child.process.pid).children()
    return engine


def test_a_run_that_nobody_can_get_is_ended_and_not_bought_again(up: Up, simulator: Child) -> None:
    """A Chat client that was cut off cannot fetch the answer. What the cut call cost is unknown."""
    with up() as child, ThreadPoolExecutor(1) as pool:
        child.ready()
        asking = pool.submit(post, child, f"sim:{SLOW}", stream=False)
        until(lambda: asked_for(simulator, SLOW) or None, "no call was made")
        child.kill()
        with pytest.raises(httpx.TransportError):
            asking.result()
    with up() as again:
        again.ready()
        run = ended(again)
        assert run["status"] == "cancelled"
        run = until(lambda: all_ended(again), "the attempt that waits is not ended")
        assert attempts(run)[0] == (1, "interrupted")
        assert all(status == "cancelled" for _, status in attempts(run)[1:])
        assert run["calls"][0]["cost_usd"] is None
        assert run["unmetered_calls"] == 1
        assert asked_for(simulator, SLOW) == 1
        assert again.stop() == 0


def test_a_background_response_is_bought_again_and_says_what_is_unknown(
    up: Up, simulator: Child
) -> None:
    with up() as child:
        child.ready()
        response_id = in_background(child, f"sim:{SLOW}")
        until(lambda: asked_for(simulator, SLOW) or None, "no call was made")
        child.kill()
    with up() as again:
        again.ready()
        run = ended(again)
        assert run["status"] == "completed"
        assert attempts(run) == [(1, "interrupted"), (2, "completed")]
        assert run["unmetered_calls"] == 1
        assert asked_for(simulator, SLOW) == 2
        answer = httpx.get(
            f"{again.base_url}/v1/responses/{response_id}",
            headers={"x-api-key": KEY},
            trust_env=False,
        )
        assert answer.json()["status"] == "completed"
        assert again.stop() == 0


def test_a_finished_reply_is_not_bought_again(up: Up, simulator: Child) -> None:
    """The call ends while the engine is frozen, so that the engine never learns of it."""
    with up() as child:
        child.ready()
        in_background(child, f"sim:{SLOW}")
        until(lambda: asked_for(simulator, SLOW) or None, "no call was made")
        engine = engine_of(child)
        engine.send_signal(signal.SIGSTOP)
        until(
            lambda: attempts(only_run(child)) == [(1, "completed")] or None, "the call does not end"
        )
        engine.kill()
        child.kill()
    with up() as again:
        again.ready()
        run = ended(again)
        assert run["status"] == "completed"
        assert attempts(run) == [(1, "completed"), (2, "completed")]
        assert run["calls"][1]["recorded"] is True
        assert run["unmetered_calls"] == 0
        assert asked_for(simulator, SLOW) == 1
        assert again.stop() == 0


def test_every_request_to_the_provider_has_a_row_after_repeated_kills(
    up: Up, simulator: Child
) -> None:
    """Killed among calls that begin, run and end; every run ends, and is in the ledger."""
    models = [f"main-ttft{ms}" for ms in range(0, 300, 25)]
    with ThreadPoolExecutor(len(models)) as pool:
        for round_ in range(1, 3):
            with up() as child:
                child.ready()
                seen = sum(asked_for(simulator, model) for model in models)
                for model in models:
                    pool.submit(post, child, f"sim:{model}", stream=False)
                wanted = seen + 4 * round_
                until(
                    lambda wanted=wanted: (  # type: ignore[misc]
                        sum(asked_for(simulator, model) for model in models) >= wanted or None
                    ),
                    "too few calls",
                )
                child.kill()
    with up() as again:
        again.ready()
        runs = until(lambda: none_running(again), "runs have not ended")
        calls = until(lambda: ended_calls(again, runs), "calls of ended runs have not ended")
        for model in models:
            sent = [call for call in calls if call["model"] == model and not call["recorded"]]
            # A call may have been cut off between its row and its request.
            assert len(sent) >= asked_for(simulator, model)
        assert again.stop() == 0
