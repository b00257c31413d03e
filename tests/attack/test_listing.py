"""A client that lists runs, however many, does not delay other clients' requests."""

import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import httpx
import pytest

from tests.attack.conftest import ADMIN_KEY, KEY
from tests.programs.processes import Child, running
from tests.programs.running import LIMIT_S

RUNS = 300_000
LISTERS = 40
EACH = 5
LOOKS = 60
MOST_SLOWER = 12.0
"""The median request under attack, as a multiple of an undisturbed one. Two cores are shared with
the attacker; if a listing blocks authentication, the multiple is a thousand."""

FLOOR_S = 0.004

QUERIES = (
    "limit=1000",
    "limit=1000&model=no-such-model",
    "limit=1000&model=simulated&status=failed",
    "limit=1000&status=cancelled",
)

FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < ? - 1)
INSERT INTO runs (run_id, model, flow, protocol, stream, status, key_id, started_at, ended_at,
                  notes, losses)
SELECT printf('run_%028x', n), iif(n % 3, 'simulated', 'other'), 'direct@1', 'chat', 0,
       iif(n % 50, 'completed', 'failed'), (SELECT key_id FROM keys WHERE role = 'user'),
       datetime('2026-01-01', printf('+%d seconds', n)) || '.000000',
       datetime('2026-01-01', printf('+%d seconds', n)) || '.000000', '[]', '[]'
FROM numbers
"""


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """A server with many past runs."""
    folder: Path = tmp_path_factory.mktemp("listing")
    data = folder / "data"
    environ = {"POLYVOX_KEY": KEY, "POLYVOX_ADMIN_KEY": ADMIN_KEY}
    words = ("up", "--port", "0", "--data", str(data))
    with running(*words, folder=folder, environ=environ) as first:
        first.ready().stop()
    with closing(sqlite3.connect(data / "polyvox.db")) as ledger, ledger:
        ledger.execute(FILL, (RUNS,))
    with running(*words, folder=folder, environ=environ) as second:
        yield second.ready()
        second.stop()


def median_s(client: httpx.Client, enough: Callable[[int], bool]) -> float:
    """Return the duration of a request that only needs authentication."""
    times: list[float] = []
    while not enough(len(times)):
        began = time.perf_counter()
        assert client.get("/v1/models/simulated").is_success
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def listings(base_url: str, number: int) -> list[tuple[int, str]]:
    """List repeatedly; return each answer's status and the end of its text."""
    answers: list[tuple[int, str]] = []
    headers = {"x-api-key": KEY}
    with httpx.Client(base_url=base_url, headers=headers, timeout=LIMIT_S, trust_env=False) as one:
        for at in range(EACH):
            answer = one.get(f"/api/runs?{QUERIES[(number + at) % len(QUERIES)]}")
            answers.append((answer.status_code, answer.text[-300:]))
    return answers


def attack(base_url: str) -> list[tuple[int, str]]:
    with ThreadPoolExecutor(LISTERS) as listers:
        found = listers.map(partial(listings, base_url), range(LISTERS))
        return [answer for answers in found for answer in answers]


def test_listings_do_not_hold_up_authentication(child: Child) -> None:
    """Each is answered, or refused with a message that there are too many."""
    headers = {"x-api-key": KEY}
    with (
        httpx.Client(
            base_url=child.base_url, headers=headers, timeout=LIMIT_S, trust_env=False
        ) as client,
        # In a separate process, so that the attacker does not slow the neighbour's client.
        ProcessPoolExecutor(1, get_context("spawn")) as attackers,
    ):
        attackers.submit(int).result()
        undisturbed_s = median_s(client, lambda looks: looks == LOOKS)
        attacking = attackers.submit(attack, child.base_url)
        attacked_s = median_s(client, lambda looks: looks >= LOOKS and attacking.done())
        answers = attacking.result()
    print(f"Median {undisturbed_s * 1e3:.1f} ms, under attack {attacked_s * 1e3:.1f} ms.")
    assert attacked_s <= MOST_SLOWER * max(undisturbed_s, FLOOR_S)
    assert {status for status, _ in answers} <= {200, 503}
    assert all("reading the ledger already" in text for status, text in answers if status == 503)


@pytest.mark.parametrize("prefix", ["run_00000", "run_000000000000000000000000001"])
def test_a_prefix_is_found_by_the_index(child: Child, prefix: str) -> None:
    """If several runs match, the error says so; if one matches, it is returned."""
    headers = {"x-api-key": KEY}
    url = f"{child.base_url}/api/runs/{prefix}"
    answer = httpx.get(url, headers=headers, timeout=LIMIT_S, trust_env=False)
    assert answer.status_code == 400
    assert "Several runs" in answer.json()["error"]["message"]
