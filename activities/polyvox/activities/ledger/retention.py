"""Deletes ended runs that are older than the operator keeps them, with all that belongs to them.

Their blobs remain until a collection of garbage: other runs may share them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    and_,
    delete,
    inspect,
    or_,
    select,
)

from polyvox.activities.ledger.statements import table_of
from polyvox.activities.ledger.tables import CallRow, RunRow
from polyvox.activities.storage.responses import (
    PREFIX,
    ResponseFramesRow,
    ResponseItemRow,
    ResponseRow,
)

_BATCH = 200
"""The runs of one transaction: other writers wait for some milliseconds."""

_RUNNING = "running"

_FINISHED_CALLS = "finished_calls"


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days ended runs are kept: ``by_model`` for single models, else ``days``.

    None means for ever.
    """

    days: float | None = None
    by_model: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def limits(self) -> bool:
        """Whether any run is ever deleted."""
        return self.days is not None or bool(self.by_model)


def expire_runs(engine: Engine, retention: Retention, now: datetime) -> int:
    """Delete the runs that have expired at ``now``; return how many. Blocks."""
    if not retention.limits:
        return 0
    runs = table_of(RunRow)
    expired = and_(runs.c.status != _RUNNING, _is_old(retention, now))
    some = select(runs.c.run_id).where(expired).order_by(runs.c.run_id).limit(_BATCH)
    has_finished_calls = inspect(engine).has_table(_FINISHED_CALLS)
    count = 0
    while True:
        with engine.begin() as connection:
            ids = list(connection.execute(some).scalars())
            _delete(connection, ids, has_finished_calls=has_finished_calls)
        count += len(ids)
        if len(ids) < _BATCH:
            return count


def _is_old(retention: Retention, now: datetime) -> ColumnElement[bool]:
    runs = table_of(RunRow).c
    rules = [
        and_(runs.model == model, runs.ended_at < now - timedelta(days=days))
        for model, days in sorted(retention.by_model.items())
    ]
    if retention.days is not None:
        others = runs.model.not_in(list(retention.by_model))
        rules.append(and_(others, runs.ended_at < now - timedelta(days=retention.days)))
    return or_(*rules)


def _delete(connection: Connection, ids: Sequence[str], *, has_finished_calls: bool) -> None:
    """Delete runs with their calls and their stored responses."""
    responses = [f"{PREFIX}{run_id}" for run_id in ids]
    for row in (ResponseItemRow, ResponseFramesRow, ResponseRow):
        table = table_of(row)
        connection.execute(delete(table).where(table.c.response_id.in_(responses)))
    if has_finished_calls:
        finished = Table(_FINISHED_CALLS, MetaData(), Column("run_id", String))
        connection.execute(delete(finished).where(finished.c.run_id.in_(ids)))
    calls, runs = table_of(CallRow), table_of(RunRow)
    connection.execute(delete(calls).where(calls.c.run_id.in_(ids)))
    connection.execute(delete(runs).where(runs.c.run_id.in_(ids)))
