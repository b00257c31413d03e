"""Reads how long a provider asks to wait before the next attempt from its answer's headers."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS_S = {"retry-after-ms": 0.001, "retry-after": 1.0}


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait in seconds, never negative; None if no header has a readable one.

    ``retry-after`` is a number of seconds or an HTTP date (RFC 9110, 10.2.3); ``retry-after-ms``,
    which OpenAI and Azure add, is exact and comes first.
    """
    for name, unit_s in _UNITS_S.items():
        wait_s = _seconds(headers.get(name, ""), unit_s)
        if wait_s is not None:
            return max(0.0, wait_s)
    return None


def _seconds(value: str, unit_s: float) -> float | None:
    try:
        wait_s = float(value) * unit_s
        return wait_s if math.isfinite(wait_s) else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    # A date without a time zone is in UTC.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()
