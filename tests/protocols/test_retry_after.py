"""The wait that a provider asks for, in every form it may have."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from polyvox.protocols import table
from polyvox.protocols.retry_after import retry_after_s


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "2"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_seconds_and_milliseconds_are_read(headers: dict[str, str], wait_s: float | None) -> None:
    assert retry_after_s(headers) == wait_s


def test_a_date_is_the_time_until_then() -> None:
    """One that has passed asks for no wait."""
    now = datetime.now(UTC)
    soon = retry_after_s({"retry-after": format_datetime(now + timedelta(hours=1), usegmt=True)})
    assert soon is not None
    assert 3_500 < soon <= 3_600
    past = format_datetime(now - timedelta(hours=1), usegmt=True)
    assert retry_after_s({"retry-after": past}) == 0.0


@pytest.mark.parametrize("protocol", table.PROTOCOLS)
def test_every_provider_may_name_a_date(protocol: str) -> None:
    """Gateways before a provider send dates, whatever the protocol behind them is."""
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    error = table.PROTOCOLS[protocol].provider.parse_error(429, {"retry-after": soon}, b"{}")
    assert error.retry_after_s is not None
    assert error.retry_after_s > 3_500
