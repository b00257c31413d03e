"""Every recorded request, asked of a provider of the client's own protocol, is what it was."""

import pytest

from tests.golden.comparisons import in_answer, in_next_turn, in_request, unmeant
from tests.golden.differences import TABLE, Row
from tests.golden.passage import UNREADABLE, answers, requests
from tests.samples.recordings import Exchange


@pytest.mark.parametrize("exchange", requests(), ids=lambda exchange: exchange.id)
def test_the_provider_is_asked_what_the_client_asked(exchange: Exchange) -> None:
    """Unknown fields and spelling included; the exceptions are those of the table."""
    assert unmeant(exchange, in_request(exchange)) == []


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_exception_is_needed(row: Row) -> None:
    """An exception that no recorded exchange needs any more leaves the table."""
    found = [(exchange, in_request(exchange)) for exchange in requests()]
    for exchange in answers():
        found.append((exchange, in_answer(exchange)))
        if not any(name in exchange.id for name in UNREADABLE):
            found.append((exchange, in_next_turn(exchange)))
    assert any(
        row.covers(exchange.protocol, exchange.id, difference)
        for exchange, all_found in found
        for difference in all_found
    )
