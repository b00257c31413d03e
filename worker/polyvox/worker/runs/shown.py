"""Finds out whether an earlier client may have been sent a part of a run's answer.

A client that is attached later must not get the middle of an answer as its beginning. What was sent
is not recorded, but which activities show something is, in the run's history.
"""

from temporalio.client import Client
from temporalio.service import RPCError

from polyvox.worker.runs.handle import RPC_LIMIT
from polyvox.workflows.boundary.backend import CALL_MODEL, SHOW
from polyvox.workflows.boundary.calls import ModelCall


async def has_shown(client: Client, run_id: str) -> bool:
    """Return whether an activity that shows a part of the answer has ended, or may have.

    An activity that has not ended is not counted: its events tell whether they are the first. True
    if the engine does not say.
    """
    handle = client.get_workflow_handle(run_id)
    try:
        history = await handle.fetch_history()
        described = await handle.describe(rpc_timeout=RPC_LIMIT)
    except RPCError:
        return True
    pending = {activity.activity_id for activity in described.raw_description.pending_activities}
    for event in history.events:
        if not event.HasField("activity_task_scheduled_event_attributes"):
            continue
        scheduled = event.activity_task_scheduled_event_attributes
        activity = scheduled.activity_type.name
        if activity == SHOW:
            return True
        if activity == CALL_MODEL and scheduled.activity_id not in pending:
            (call,) = await client.data_converter.decode(scheduled.input.payloads, [ModelCall])
            if call.emit:
                return True
    return False
