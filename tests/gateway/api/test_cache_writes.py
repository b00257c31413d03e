"""One-hour and five-minute cache writes are counted and priced apart, through the whole program."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.programs.commands import told, told_json
from tests.programs.recording_provider import Received, messages_answer, recording_provider
from tests.programs.running import PROTOCOLS, Live, live_program

WRITTEN = {
    "input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation_input_tokens": 1_000_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 600_000, "ephemeral_1h_input_tokens": 400_000},
    "output_tokens": 0,
}
ASKED: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "responses": {"input": "hi"},
    "messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100},
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    def answer(_: Received) -> tuple[int, Any]:
        events = messages_answer("hello", **WRITTEN)
        events[-2]["usage"] = {"output_tokens": 0}
        return 200, events

    with recording_provider(answer) as served:
        table = f'[providers.claude]\nprotocol = "messages"\nbase_url = "{served.url}"\n'
        table += '[providers.claude.prices."*"]\ninput = 5\noutput = 25\n'
        table += '[models.panel]\nflow = "fusion"\n[models.panel.params]\nmode = "required"\n'
        table += 'main = "claude:m"\njudge = "claude:m"\npanel = ["claude:m"]\n'
        folder = tmp_path_factory.mktemp("cache_writes")
        with live_program(folder, served.url, more=table) as live:
            yield live


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_kind_of_write_has_its_meter_and_its_price(
    program: Live, protocol: str, stream: bool
) -> None:
    """600k for five minutes and 400k for an hour at $5 per million of input: $7.75."""
    request = {"model": "claude:m", "stream": stream, **ASKED[protocol]}
    answer = program.post(protocol, request)
    run = program.ended(answer.headers["x-polyvox-run"])
    (call,) = run["calls"]
    for tokens in (run["tokens"], call["tokens"]):
        assert (tokens["cache_write"], tokens["cache_write_1h"]) == (600_000, 400_000)
    assert call["cost_usd"] == run["cost"]["usd"] == pytest.approx(7.75)
    if protocol == "messages" and not stream:
        usage = answer.json()["usage"]
        assert usage["cache_creation_input_tokens"] == 1_000_000
        assert usage["cache_creation"] == WRITTEN["cache_creation"]


def test_the_command_line_shows_both(program: Live) -> None:
    """In the tree and in the document."""
    answer = program.post("messages", {"model": "claude:m", **ASKED["messages"]})
    run_id = answer.headers["x-polyvox-run"]
    program.ended(run_id)
    tree = told(program, "runs", "show", run_id)
    assert "600,000 to cache + 400,000 to cache for 1 hour" in tree
    assert "$7.75" in tree
    assert told_json(program, "runs", "show", run_id)["tokens"]["cache_write_1h"] == 400_000


def test_the_calls_of_a_flow_are_added_up(program: Live) -> None:
    """Meter by meter; a client of Messages reads the sum of each."""
    answer = program.post("messages", {"model": "panel", **ASKED["messages"]})
    run = program.ended(answer.headers["x-polyvox-run"], calls=2)
    calls = len(run["calls"])
    assert calls > 1
    assert run["cost"]["usd"] == pytest.approx(7.75 * calls)
    usage = answer.json()["usage"]
    assert usage["cache_creation"] == {
        "ephemeral_5m_input_tokens": 600_000 * calls,
        "ephemeral_1h_input_tokens": 400_000 * calls,
    }, json.dumps(run)
