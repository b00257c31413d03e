"""Answers the questions runs wait for: asks the run for them by a query, answers by a signal."""

from datetime import timedelta

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from polyvox.worker.engine.trouble import engine_error
from polyvox.worker.hosting.host import APPROVE, QUESTIONS
from polyvox.workflows.errors import ModelError

_PATIENCE = timedelta(seconds=10)


_GLANCE = timedelta(seconds=2)


async def open_questions(client: Client, run_id: str) -> list[str] | None:
    """Return what the run waits for somebody to decide, None if it does not say."""
    handle = client.get_workflow_handle(run_id)
    try:
        asked: list[str] = await handle.query(QUESTIONS, result_type=list, rpc_timeout=_GLANCE)
    except (RPCError, WorkflowQueryFailedError):
        return None
    return list(asked)


async def answer_question(
    client: Client, run_id: str, *, approved: bool, question: str | None = None
) -> str:
    """Answer what the run asks and return that question.

    ``question`` may be left out where only one waits. ``client`` needs no data converter: what is
    sent is plain JSON. Raises ModelError("not_found") or ModelError("conflict").
    """
    handle = client.get_workflow_handle(run_id)
    try:
        waiting: list[str] = await handle.query(QUESTIONS, result_type=list, rpc_timeout=_PATIENCE)
        if question is None and len(waiting) > 1:
            listed = ", ".join(map(repr, waiting))
            raise ModelError("conflict", f"Run {run_id} asks {listed}. Say which (question).")
        if not waiting or (question is not None and question not in waiting):
            listed = ", ".join(map(repr, waiting)) or "nothing"
            raise ModelError("conflict", f"Run {run_id} does not wait for that; it asks {listed}.")
        answered = question or waiting[0]
        await handle.signal(APPROVE, args=[answered, approved], rpc_timeout=_PATIENCE)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise engine_error(error) from error
        raise ModelError("not_found", f"The engine has no open run {run_id!r}.") from None
    return answered
