"""What runs cost: shown wherever runs are, and limited, through the whole program."""

import pytest

from polyvox.gateway.cli.output.format import dollars
from tests.gateway.generate.test_failures import request
from tests.gateway.generate.test_runaway import ASK, failed, serve
from tests.programs.commands import refused, told, told_json
from tests.programs.running import Live


def asked(live: Live, model: str) -> str:
    """Ask ``model`` and return the id of its run."""
    answer = live.post("chat", request("chat", model, stream=False))
    assert answer.status_code == 200, answer.text
    return answer.headers["x-polyvox-run"]


def test_a_run_costs_what_its_calls_do(live: Live) -> None:
    """By the provider's prices: the same number in the document, the list and the tree."""
    run_id = asked(live, "priced:main")
    run = live.ended(run_id)
    (call,) = run["calls"]
    tokens = call["tokens"]
    assert call["cost_usd"] == pytest.approx((tokens["input"] + 10 * tokens["output"]) / 10_000)
    assert run["cost"] == {"usd": call["cost_usd"], "unknown_calls": 0}
    (listed,) = told_json(live, "runs", "list", "--model", "priced:main", "--limit", "1")
    assert listed["cost"] == run["cost"]
    assert f"cost {dollars(call['cost_usd'])}" in told(live, "runs", "show", run_id)


def test_a_price_nobody_knows_is_unknown_and_not_zero(live: Live) -> None:
    """No number, and the tree says so."""
    run_id = asked(live, "sim-chat:main")
    run = live.ended(run_id)
    assert run["calls"][0]["cost_usd"] is None
    assert run["cost"] == {"usd": 0.0, "unknown_calls": 1}
    assert "cost unknown" in told(live, "runs", "show", run_id)


def test_an_attempt_that_was_refused_cost_nothing(live: Live) -> None:
    """No provider bills for an error."""
    answer = live.post("chat", request("chat", "sim-chat:main-err400", stream=False))
    run = live.ended(answer.headers["x-polyvox-run"])
    assert run["cost"] == {"usd": 0.0, "unknown_calls": 0}


def test_an_answer_from_the_record_costs_nothing(live: Live) -> None:
    """A rerun pays only for what is asked anew."""
    run_id = asked(live, "priced:main")
    live.ended(run_id)
    again = told_json(live, "runs", "rerun", run_id)
    assert again["calls"][0]["recorded"] is True
    assert again["cost"] == {"usd": 0.0, "unknown_calls": 0}


def test_a_run_asks_no_more_once_its_limit_is_spent(live: Live) -> None:
    """The call that passes it is finished, the next one is not made."""
    body = ASK.replace("run.params.model", '"priced:main-idspender"')
    serve(live, "spending", f"while True:\n        {body}")
    told(live, "models", "set", "spending-some", "--flow", "spending", "--limit", "cost_usd=0.01")
    answer, shown = failed(live, "spending-some")
    assert answer.status_code == 500
    assert "its limit is cost_usd = 0.01" in answer.json()["error"]["message"]
    assert shown.count("attempt 1") == 1


def test_a_run_with_a_limit_never_asks_a_model_without_a_price(live: Live) -> None:
    """Nothing goes upstream, and the error says where the price is set."""
    body = ASK.replace("run.params.model", '"sim-chat:main-idpriceless"')
    serve(live, "priceless", f"return {body}")
    told(live, "models", "set", "priceless-some", "--flow", "priceless", "--limit", "cost_usd=1")
    answer, _ = failed(live, "priceless-some")
    message = answer.json()["error"]["message"]
    assert '[providers.sim-chat.prices."main-idpriceless"]' in message
    assert "main-idpriceless" not in live.seen()["requests"]


def test_a_limit_must_be_an_amount(live: Live) -> None:
    """Refused with its path."""
    word = refused(live, "models", "set", "plain-chat", "--limit", "cost_usd=-1")
    assert "models.plain-chat.limits.cost_usd" in word
