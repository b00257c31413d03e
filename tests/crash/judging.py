"""Compares what was observed with what must hold after a crash, cell by cell."""

import re
from collections import Counter
from dataclasses import dataclass

from tests.crash.answers import TOKENS
from tests.crash.asking import Seen
from tests.crash.batch import Outcome
from tests.crash.cells import Cell
from tests.crash.records import Run, Workflow
from tests.crash.upstream import Request

_UNSENT = ("running", "interrupted", "cancelled", "failed")
"""The states of an attempt whose row may exist although the provider received no request."""

_MEANT = {"completed": "completed", "failed": "failed", "canceled": "cancelled"}
"""The state in the ledger of a run by its state in the engine."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The figures of one cell; all but the times are numbers of faults.

    ``going_on_s`` is the time from the kill to the first sign that the cell continues: a request
    to the provider, a byte for the client, or the end of the run. ``after_ready_s`` counts from
    the moment when everything serves again. None if there was nothing to continue. ``rebought``
    are calls that were asked again although the provider had sent the whole answer, because no
    record said so: the worker may have died before it read the answer, so they are not faults.
    """

    cell: Cell
    client: str
    runs: str
    going_on_s: float | None
    after_ready_s: float | None
    unreached: int = 0
    not_ended: int = 0
    repeated: int = 0
    rebought: int = 0
    twice: int = 0
    no_row: int = 0
    no_request: int = 0
    open_rows: int = 0
    unknown_runs: int = 0
    disagreeing: int = 0
    said_exact: int = 0
    for_nobody: int = 0
    told_and_run: int = 0
    lost_answers: int = 0
    garbled: int = 0

    @property
    def faults(self) -> dict[str, int]:
        """The faults that were found, by name."""
        return {name: count for name in FAULTS if (count := getattr(self, name))}


FAULTS = {
    "unreached": "cells that did not come to their point",
    "not_ended": "runs that did not end",
    "repeated": "calls asked again although they were recorded as completed",
    "twice": "calls that an SDK's retry bought twice",
    "no_row": "provider requests without a row in the ledger",
    "no_request": "rows in the ledger without a provider request",
    "open_rows": "rows of calls that are still running after their run has ended",
    "unknown_runs": "runs that the ledger does not know",
    "disagreeing": "runs that end differently in ledger and engine",
    "said_exact": "runs whose cost is said to be exact although an attempt's is unknown",
    "for_nobody": "provider requests for a client that is gone and cannot fetch",
    "told_and_run": "runs that go on after their client was told an error",
    "lost_answers": "stored answers that cannot be fetched although their run completed",
    "garbled": "complete answers with a wrong text",
}


def judge(outcome: Outcome) -> list[Verdict]:
    """Return a verdict for each cell of a batch."""
    return [_verdict(outcome, cell) for cell in outcome.batch.cells]


def _verdict(outcome: Outcome, cell: Cell) -> Verdict:
    killed, ready = outcome.killed_at, outcome.ready_at
    requests = [request for request in outcome.requests if request.mark == cell.mark]
    runs = [run for run in outcome.runs.values() if run.model == cell.model]
    flows = [flow for flow in outcome.workflows.values() if flow.model == cell.model]
    first = outcome.seen[cell.mark]
    seen = outcome.second.get(cell.mark, first)
    went_on = _first_sign(killed, requests, runs, [first, seen])
    differences = _ledger_differences(requests, runs, flows, [first, seen])
    is_cut = any(request.answered_at is None for request in requests)
    return Verdict(
        cell=cell,
        client=seen.summary,
        runs=_told(runs, flows),
        going_on_s=went_on - killed if went_on else None,
        after_ready_s=max(0.0, went_on - ready) if went_on else None,
        unreached=int(cell.mark in outcome.unreached),
        not_ended=sum(run.status == "running" for run in runs)
        + sum(flow.status == "running" for flow in flows),
        **_asked_again(cell, killed, requests, runs, flows),
        **differences,
        said_exact=int(
            bool(runs and (is_cut or differences["no_row"])) and not _has_unknown_cost(runs)
        ),
        for_nobody=_for_nobody(cell, killed, requests, seen),
        told_and_run=_told_and_run(requests, runs, seen),
        lost_answers=_lost_answers(cell, runs, seen),
        garbled=int(seen.ending == "complete" and not _is_whole(cell, seen)),
    )


def _first_sign(
    killed: float, requests: list[Request], runs: list[Run], seen: list[Seen]
) -> float | None:
    signs = [request.at for request in requests if not request.late]
    signs += [at for client in seen for at in client.received_at]
    signs += [run.ended_at for run in runs if run.ended_at is not None]
    return min((at for at in signs if at > killed), default=None)


def _told(runs: list[Run], flows: list[Workflow]) -> str:
    """Return the states of the cell's runs in the ledger, then those that only the engine has."""
    states = [
        f"failed ({run.error_kind})" if run.status == "failed" else run.status for run in runs
    ]
    known = {run.run_id for run in runs}
    states += [f"{flow.status}, not in ledger" for flow in flows if flow.run_id not in known]
    return " + ".join(sorted(states)) or "none"


def _asked_again(
    cell: Cell, killed: float, requests: list[Request], runs: list[Run], flows: list[Workflow]
) -> dict[str, int]:
    """Count calls that were asked again after the kill.

    A call is recorded as completed if the engine has its result or the ledger its row.
    """
    recorded = Counter(
        model
        for flow in flows
        for model, times in flow.completed_at.items()
        for at in times
        if at <= killed
    )
    in_ledger = Counter(
        call.model
        for run in runs
        for call in run.calls
        if call.status == "completed" and (call.ended_at or killed + 1) <= killed
    )
    repeated = rebought = twice = 0
    for identity in dict.fromkeys(request.identity for request in requests):
        same = [request for request in requests if request.identity == identity]
        before = [r for r in same if r.answered_at is not None and r.answered_at <= killed]
        again = [r for r in same if r.was_sent_after(killed)]
        whole = [r for r in same if r.answered_at is not None]
        twice += max(0, len(whole) - 1)
        if not before or not again:
            continue
        # A model that is asked twice in a run (before and after a tool) has two identities.
        answered = [
            r
            for r in requests
            if r.model == identity[0] and r.answered_at is not None and r.answered_at <= killed
        ]
        known = max(recorded[identity[0]], in_ledger[identity[0]])
        if known >= len(answered):
            repeated += len(again)
        else:
            rebought += len(again)
    return {"repeated": repeated, "rebought": rebought, "twice": twice if cell.retries else 0}


def _ledger_differences(
    requests: list[Request], runs: list[Run], flows: list[Workflow], seen: list[Seen]
) -> dict[str, int]:
    asked = Counter(request.model for request in requests)
    rows = [call for run in runs for call in run.calls if not call.recorded]
    written = Counter(call.model for call in rows)
    spare = 0
    for model, count in written.items():
        may_be_unsent = sum(c.model == model and c.status in _UNSENT for c in rows)
        spare += max(0, count - asked[model] - may_be_unsent)
    known = {run.run_id: run for run in runs}
    started = {flow.run_id for flow in flows} | {client.run_id for client in seen} - {""}
    disagreeing = sum(
        _MEANT.get(flow.status, flow.status) != known[flow.run_id].status
        for flow in flows
        if flow.run_id in known
    )
    return {
        "no_row": sum(max(0, count - written[model]) for model, count in asked.items()),
        "no_request": spare,
        "open_rows": sum(call.status == "running" for call in rows),
        "unknown_runs": len(started - set(known)),
        "disagreeing": disagreeing,
    }


def _has_unknown_cost(runs: list[Run]) -> bool:
    return any(call.cost_usd is None for run in runs for call in run.calls)


def _for_nobody(cell: Cell, killed: float, requests: list[Request], seen: Seen) -> int:
    """Count requests that were sent after the client had gone for good."""
    if cell.fetchable or seen.ending in ("complete", ""):
        return 0
    return sum(request.was_sent_after(max(killed, seen.ended_at)) for request in requests)


def _told_and_run(requests: list[Request], runs: list[Run], seen: Seen) -> int:
    if not seen.ending.startswith("error"):
        return 0
    later = any(request.was_sent_after(seen.ended_at) for request in requests)
    return int(later or any(run.status == "completed" for run in runs))


def _lost_answers(cell: Cell, runs: list[Run], seen: Seen) -> int:
    if not cell.fetchable or not any(run.status == "completed" for run in runs):
        return 0
    return int(seen.ending != "complete" and seen.fetched not in ("", "completed"))


def _is_whole(cell: Cell, seen: Seen) -> bool:
    numbers = re.findall(re.escape(cell.answering) + r"\.(\d+)", seen.text)
    return numbers[:TOKENS] == [str(number) for number in range(TOKENS)]
