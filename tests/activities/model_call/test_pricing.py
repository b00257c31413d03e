"""What calls cost: the operator's prices, the known ones, and where nobody knows."""

import socket
from dataclasses import replace
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices.types import ModelPrice

from polyvox.activities.model_call.directory import Directory
from polyvox.activities.model_call.estimates import estimating
from polyvox.activities.model_call.pricing import cost_of, cost_of_reply, knows_price
from polyvox.activities.model_call.provider import Price, Provider
from polyvox.workflows.conversation import Conversation, Wire
from polyvox.workflows.reply import Reply, Usage

OPENAI = Provider("work", "responses", "https://api.openai.com/v1")
OWN = Provider(
    "own",
    "chat",
    "http://127.0.0.1:1/v1",
    prices={"dear": Price(3.0, 15.0, cache_read=0.3, cache_write=3.75), "*": Price(1.0, 2.0)},
)
STRANGE = Provider("openai", "chat", "http://127.0.0.1:1/v1")


def test_the_operators_prices_are_by_meter() -> None:
    """Fresh input, read from the cache, written to it, output: each at its own price."""
    usage = Usage(input=1000, cache_read=10_000, cache_write=2000, output=500, reasoning=100)
    assert cost_of(OWN, "dear", usage) == pytest.approx(0.003 + 0.003 + 0.0075 + 0.0075)


def test_the_star_prices_every_other_model_and_its_cache_as_input() -> None:
    """What is not told of the cache costs what input does."""
    usage = Usage(input=1000, cache_read=1000, cache_write=1000, output=1000)
    assert cost_of(OWN, "any", usage) == pytest.approx(0.003 + 0.002)


def test_a_known_provider_is_known_by_its_address_whatever_it_is_called() -> None:
    """The list price, less for what came from the cache; a stranger called openai has none."""
    fresh = cost_of(OPENAI, "gpt-4o", Usage(input=1_000_000, output=0))
    cached = cost_of(OPENAI, "gpt-4o", Usage(input=0, cache_read=1_000_000, output=0))
    assert fresh is not None
    assert cached is not None
    assert 0 < cached < fresh
    assert cost_of(STRANGE, "gpt-4o", Usage(input=1_000_000, output=0)) is None


def test_own_prices_go_before_known_ones() -> None:
    """A negotiated price is what is paid."""
    ours = Provider("work", "responses", OPENAI.base_url, prices={"gpt-4o": Price(0.5, 0.5)})
    assert cost_of(ours, "gpt-4o", Usage(input=1_000_000, output=0)) == 0.5
    assert cost_of(ours, "gpt-4o-mini", Usage(input=1, output=1)) != 0.5e-6 * 2


@pytest.mark.parametrize(
    "usage", [Usage(), Usage(input=10), Usage(output=10)], ids=["nothing", "no output", "no input"]
)
def test_tokens_nobody_told_have_no_cost(usage: Usage) -> None:
    """Unknown is not zero."""
    assert cost_of(OWN, "dear", usage) is None


def test_a_model_nobody_knows_has_no_price_unless_it_names_itself() -> None:
    """A name that stands for another model is priced as what answered."""
    said = Reply((), usage=Usage(input=1000, output=10), model="gpt-4o-2024-08-06")
    assert not knows_price(OPENAI, "our-alias")
    assert cost_of_reply(OPENAI, "our-alias", said) == cost_of(OPENAI, "gpt-4o", said.usage)


def test_the_service_tier_that_answered_has_its_price() -> None:
    """Half the price for who can wait."""
    usage = Usage(input=1_000_000, output=0)
    flex = Reply((), usage=usage, wire=Wire("responses", {"service_tier": "flex"}))
    dear, cheap = cost_of(OPENAI, "gpt-5", usage), cost_of_reply(OPENAI, "gpt-5", flex)
    assert dear is not None
    assert cheap is not None
    assert cheap < dear


def test_looking_up_a_price_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is part of the installation."""

    def refuse(*_: object) -> None:
        raise AssertionError("somebody opens a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert knows_price(OPENAI, "gpt-4o")


def test_calls_are_estimated_before_they_are_made() -> None:
    """What is known is added up; models without a price and unknown providers are named."""
    estimate = estimating(Directory({"own": OWN, "openai": STRANGE}, {}))
    asked = [
        {"model": "own:any", "input": 1000, "output": 500},
        {"model": "own:any", "input": 1000, "output": 500},
        {"model": "openai:gpt-4o", "input": 1, "output": 1},
        {"model": "nobody:x", "input": 1, "output": 1},
    ]
    found = estimate({"calls": asked}, Conversation(()))
    assert found == {"usd": pytest.approx(0.004), "unknown": ["openai:gpt-4o", "nobody:x"]}


CLAUDE = "claude-sonnet-4-5"
ANTHROPIC = Provider("anthropic", "messages", "https://api.anthropic.com/v1")
BOTH_WRITES = Usage(0, 0, 600_000, 0, cache_write_1h=400_000)


@pytest.mark.parametrize("model", [CLAUDE, "our-alias"])
def test_claudes_cache_writes_cost_a_multiple_of_input(model: str) -> None:
    """600k for five minutes and 400k for an hour at $5 per million of input are $7.75."""
    ours = Provider("own", "messages", "http://127.0.0.1:1/v1", prices={"*": Price(5.0, 25.0)})
    assert cost_of(ours, model, BOTH_WRITES) == pytest.approx(7.75)


def test_only_claudes_cache_writes_cost_more_than_input_by_default() -> None:
    """Another vendor's are not known to."""
    assert cost_of(OWN, "any", Usage(0, 0, 1_000_000, 0)) == pytest.approx(1.0)
    assert cost_of(OWN, CLAUDE, Usage(0, 0, 1_000_000, 0)) == pytest.approx(1.25)


def test_an_operator_prices_each_kind_of_cache_write() -> None:
    """A price of its own goes before the multiple."""
    dear = Price(5.0, 25.0, cache_write=1.0, cache_write_1h=3.0)
    ours = Provider("own", "messages", "http://127.0.0.1:1/v1", prices={"*": dear})
    assert cost_of(ours, CLAUDE, BOTH_WRITES) == pytest.approx(0.6 + 1.2)
    five = Price(5.0, 25.0, cache_write=1.0)
    ours = Provider("own", "messages", "http://127.0.0.1:1/v1", prices={"*": five})
    assert cost_of(ours, CLAUDE, BOTH_WRITES) == pytest.approx(0.6 + 4.0)


def test_the_table_has_its_own_price_of_an_hours_cache() -> None:
    """Claude Sonnet 4.5 below its long-context price: $3.75 and $6 per million written."""
    usage = Usage(0, 0, 60_000, 0, cache_write_1h=40_000)
    assert cost_of(ANTHROPIC, CLAUDE, usage) == pytest.approx((60 * 3.75 + 40 * 6) / 1000)


def test_a_table_without_a_price_of_cache_writes_has_claudes_multiple(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tokens that the table does not price cost their multiple of its input price."""
    whole = genai_prices.calc_price

    def forgetful(*args: Any, **kwargs: Any) -> Any:
        found = whole(*args, **kwargs)
        bare = ModelPrice(input_mtok=Decimal(5), output_mtok=Decimal(25))
        total = bare.calc_price(args[0])["total_price"]
        return replace(found, model_price=bare, total_price=total)

    monkeypatch.setattr(genai_prices, "calc_price", forgetful)
    assert cost_of(ANTHROPIC, CLAUDE, BOTH_WRITES) == pytest.approx(7.75)
    everything = replace(BOTH_WRITES, input=1_000_000, output=1_000_000)
    assert cost_of(ANTHROPIC, CLAUDE, everything) == pytest.approx(5 + 25 + 7.75)
