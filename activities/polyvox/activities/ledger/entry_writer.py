"""Writes batches of the ledger's entries, each batch in one transaction."""

from collections.abc import Sequence

from sqlalchemy import Engine

from polyvox.activities.ledger.entries import (
    CallEnded,
    CallFinished,
    CallStarted,
    Entry,
    RunAnswered,
    RunEnded,
    RunStarted,
)
from polyvox.activities.ledger.statements import (
    Row,
    answer_runs,
    columns_of,
    end_calls,
    end_runs,
    ended_call_row,
    ended_row,
    finished_row,
    forget_finished_calls,
    insert_new,
    started_call_row,
    started_row,
    table_of,
)
from polyvox.activities.ledger.tables import CallRow, FinishedCallRow, RunRow

_CallKey = tuple[str, str | None, int]
"""What identifies an attempt: the run's id, the call's id and the number of the attempt."""


class EntryWriter:
    """Writes entries. Used by one thread.

    An attempt that starts and ends within one batch is one INSERT; a longer one is an INSERT at its
    start and an UPDATE at its end.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._insert_runs = insert_new(engine.dialect.name, table_of(RunRow))
        self._insert_calls = table_of(CallRow).insert()
        self._end_runs = end_runs()
        self._answer_runs = answer_runs()
        self._end_calls = end_calls()
        self._insert_finished = insert_new(engine.dialect.name, table_of(FinishedCallRow))
        self._forget_finished = forget_finished_calls()
        self._open: set[_CallKey] = set()
        """The attempts whose start is written and whose end is not."""

    def write(self, entries: Sequence[Entry]) -> None:
        started: list[Row] = []
        begun: dict[_CallKey, Row] = {}
        whole: list[Row] = []
        closed: dict[_CallKey, Row] = {}
        ended: list[Row] = []
        answered: list[Row] = []
        finished = [finished_row(entry) for entry in entries if isinstance(entry, CallFinished)]
        for entry in (e.ended if isinstance(e, CallFinished) else e for e in entries):
            match entry:
                case RunStarted():
                    started.append(started_row(entry))
                case CallStarted():
                    begun[_key_of(entry)] = started_call_row(entry)
                case CallEnded() if _key_of(entry) in self._open:
                    closed[_key_of(entry)] = ended_call_row(entry)
                case CallEnded():
                    begun.pop(_key_of(entry), None)
                    whole.append(columns_of(entry))
                case RunEnded():
                    ended.append(ended_row(entry))
                case RunAnswered():
                    answered.append({"answered_run": entry.run_id})
        # In one order in all processes, so that they do not wait for each other's rows in a circle.
        ended.sort(key=lambda row: str(row["ended_run"]))
        answered.sort(key=lambda row: str(row["answered_run"]))
        with self._engine.begin() as connection:
            # Starts first, because a run may start and end within one batch.
            if started:
                connection.execute(self._insert_runs, started)
            if begun:
                connection.execute(self._insert_calls, list(begun.values()))
            if closed:
                connection.execute(self._end_calls, list(closed.values()))
            if whole:
                connection.execute(self._insert_calls, whole)
            if finished:
                connection.execute(self._insert_finished, finished)
            if ended:
                connection.execute(self._end_runs, ended)
                forgotten = [{"ended_run": row["ended_run"]} for row in ended]
                connection.execute(self._forget_finished, forgotten)
            if answered:
                connection.execute(self._answer_runs, answered)
        self._open.update(begun)
        self._open.difference_update(closed)


def _key_of(call: CallStarted | CallEnded) -> _CallKey:
    return call.run_id, call.call_id, call.attempt
