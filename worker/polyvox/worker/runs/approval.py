"""Lists the open questions of a run by a query, and answers one by a signal."""

from datetime import timedelta

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from polyvox.worker.engine.trouble import engine_error
from polyvox.worker.hosting.host import APPROVE, QUESTIONS
from polyvox.workflows.errors import ModelError

_ANSWER_LIMIT = timedelta(seconds=10)
_LIST_LIMIT = timedelta(seconds=2)


async def open_questions(client: Client, run_id: str) -> list[str] | None:
    """Return the questions that the run waits for, None if it does not respond."""
    handle = client.get_workflow_handle(run_id)
    try:
        questions: list[str] = await handle.query(
            QUESTIONS, result_type=list, rpc_timeout=_LIST_LIMIT
        )
    except (RPCError, WorkflowQueryFailedError):
        return None
    return list(questions)


async def answer_question(
    client: Client, run_id: str, *, approved: bool, question: str | None = None
) -> str:
    """Answer an open question of the run and return the question.

    ``question`` is optional if there is only one. ``client`` needs no data converter, because the
    signal is plain JSON. Raises ModelError("not_found") or ModelError("conflict").
    """
    handle = client.get_workflow_handle(run_id)
    try:
        waiting: list[str] = await handle.query(
            QUESTIONS, result_type=list, rpc_timeout=_ANSWER_LIMIT
        )
        if question is None and len(waiting) > 1:
            listed = ", ".join(map(repr, waiting))
            raise ModelError(
                "conflict", f"Run {run_id} asks {listed}. Set question to one of these."
            )
        if not waiting or (question is not None and question not in waiting):
            listed = ", ".join(map(repr, waiting)) or "nothing"
            raise ModelError("conflict", f"Run {run_id} does not wait for that; it asks {listed}.")
        answered = question or waiting[0]
        await handle.signal(APPROVE, args=[answered, approved], rpc_timeout=_ANSWER_LIMIT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise engine_error(error) from error
        raise ModelError("not_found", f"The engine has no open run {run_id!r}.") from None
    return answered
