"""What is on record after a crash: the ledger's rows and the engine's histories.

Both are read directly and not through the program, which is the subject of the test. A SQLite file
may be opened here because the program is another process.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory

from polyvox.workflows.boundary.backend import CALL_MODEL


@dataclass(frozen=True, slots=True)
class Call:
    """A row of an attempt in the ledger; times are seconds since the epoch.

    ``recorded`` says that it took a stored Reply and asked no provider.
    """

    run_id: str
    step: str
    attempt: int
    model: str
    status: str
    cost_usd: float | None
    ended_at: float | None
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A row of a run in the ledger, with its calls."""

    run_id: str
    model: str
    status: str
    error_kind: str | None
    ended_at: float | None
    calls: tuple[Call, ...] = ()


@dataclass(slots=True)
class Workflow:
    """A run in the engine; ``completed_at`` are the times of results by the provider's model."""

    run_id: str
    model: str
    status: str
    completed_at: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def ledger(database: str) -> dict[str, Run]:
    """Return the runs by id."""
    url = database.replace("postgresql://", "postgresql+psycopg://")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    try:
        with engine.connect() as connection:
            calls: dict[str, list[Call]] = defaultdict(list)
            for row in connection.execute(sqlalchemy.text("SELECT * FROM calls")).mappings():
                calls[row["run_id"]].append(_call(row))
            rows = connection.execute(sqlalchemy.text("SELECT * FROM runs")).mappings()
            return {row["run_id"]: _run(row, tuple(calls[row["run_id"]])) for row in rows}
    finally:
        engine.dispose()


def _call(row: Mapping[Any, Any]) -> Call:
    return Call(
        run_id=row["run_id"],
        step=row["step"],
        attempt=row["attempt"],
        model=row["model"],
        status=row["status"],
        cost_usd=row["cost_usd"],
        ended_at=_seconds(row["ended_at"]),
        recorded=bool(row["recorded"]),
    )


def _run(row: Mapping[Any, Any], calls: tuple[Call, ...]) -> Run:
    return Run(
        run_id=row["run_id"],
        model=row["model"],
        status=row["status"],
        error_kind=row["error_kind"],
        ended_at=_seconds(row["ended_at"]),
        calls=calls,
    )


def _seconds(value: Any) -> float | None:
    """Return a stored time as seconds: SQLite has text, PostgreSQL a datetime."""
    if value is None:
        return None
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert isinstance(time, datetime)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def workflows(address: str) -> dict[str, Workflow]:
    """Return the engine's runs by id."""
    return asyncio.run(_workflows(address))


async def _workflows(address: str) -> dict[str, Workflow]:
    client = await Client.connect(address)
    found: dict[str, Workflow] = {}
    async for execution in client.list_workflows():
        if not execution.id.startswith("run_"):
            continue
        status = execution.status or WorkflowExecutionStatus.RUNNING
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        found[execution.id] = _read(await handle.fetch_history(), status.name.lower())
    return found


def _read(history: WorkflowHistory, status: str) -> Workflow:
    workflow = Workflow(history.workflow_id, "", status)
    scheduled: dict[int, str] = {}
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            inputs = event.workflow_execution_started_event_attributes.input.payloads
            workflow.model = _member(inputs[0].data, "model")
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            call = event.activity_task_scheduled_event_attributes
            if call.activity_type.name == CALL_MODEL:
                name = _member(call.input.payloads[0].data, "model")
                scheduled[event.event_id] = name.partition(":")[2]
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            result = event.activity_task_completed_event_attributes
            if model := scheduled.get(result.scheduled_event_id):
                workflow.completed_at[model].append(event.event_time.ToDatetime(UTC).timestamp())
    return workflow


def _member(data: bytes, name: str) -> str:
    """Return a text member of a serialised value, wherever the serialisation puts it."""

    def look(value: Any) -> str | None:
        if isinstance(value, dict):
            if isinstance(found := value.get(name), str):
                return found
            return next((text for inner in value.values() if (text := look(inner))), None)
        if isinstance(value, list):
            return next((text for inner in value if (text := look(inner))), None)
        return None

    return look(json.loads(data)) or ""
