"""Deletes expired runs once an hour while a server runs."""

import asyncio
import logging
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from polyvox.activities.ledger.retention import Retention, expire_runs
from polyvox.activities.storage.backends.postgresql import one_at_a_time

EXPIRY_LOCK = 0x706F6C79766F7A
"""The number of the advisory lock: of several servers, one deletes at a time."""

_INTERVAL_S = 3600.0

log = logging.getLogger(__name__)


async def expire_hourly(database: Engine, retention: Retention) -> None:
    """Delete expired runs now and once an hour, until it is cancelled."""
    while retention.limits:
        try:
            count = await asyncio.to_thread(expire_now, database, retention)
        except SQLAlchemyError as error:
            log.warning("Expired runs cannot be deleted: %s", getattr(error, "orig", error))
        else:
            if count:
                log.info("Deleted %d expired runs", count)
        await asyncio.sleep(_INTERVAL_S)


def expire_now(database: Engine, retention: Retention) -> int:
    """Delete expired runs; return how many."""
    with one_at_a_time(database, EXPIRY_LOCK):
        return expire_runs(database, retention, datetime.now(UTC))
