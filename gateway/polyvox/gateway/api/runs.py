"""The runs as an HTTP API: ``GET /api/runs``, ``GET /api/runs/{id}``, ``GET .../events`` and
``POST .../approve``.

A key sees the runs it started, an admin key all of them; other runs do not exist for it. Approving
needs an admin key.

Needs ``client`` (the engine's Client, None without an engine), ``runtime`` (for its
``keep_alive_s``), ``has_ui`` (whether there is a Web UI at ``/ui``) and ``namespace`` (str) in the
application's state, besides what ``route`` needs.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict
from temporalio.client import Client

from polyvox.activities.ledger.entries import RunStatus
from polyvox.activities.ledger.ledger import LIST_LIMIT, Ledger
from polyvox.activities.ledger.tables import RunRecord
from polyvox.gateway.api.event_stream import (
    EventDocument,
    EventStream,
    event_stream,
    wanted_place,
)
from polyvox.gateway.api.route import FAILED, Admin, ApiRoute, BodyOf, require_key
from polyvox.gateway.api.run_document import (
    ApprovalDocument,
    RunPage,
    WholeRunDocument,
    render_run,
    render_whole_run,
    workflow_link,
)
from polyvox.gateway.http.admission import share_of
from polyvox.worker.runs.approval import answer_question, open_questions
from polyvox.worker.watching.follow import watch_run
from polyvox.workflows.errors import ModelError

ByKey = Annotated[str, Depends(require_key)]


async def owner_of(request: Request, key_id: ByKey) -> str | None:
    """Return the key whose runs the request may see, None for an admin key, which sees all."""
    role = await request.app.state.ledger.role_of(key_id)
    return None if role == "admin" else key_id


Owner = Annotated[str | None, Depends(owner_of)]


class ApprovalBody(BaseModel):
    """A decision; ``question`` may be left out where the run asks only one."""

    model_config = ConfigDict(extra="forbid")

    approved: bool
    question: str | None = None


def api_router() -> APIRouter:
    """Return the routes, to be included in the application."""
    router = APIRouter(
        prefix="/api",
        route_class=ApiRoute,
        dependencies=[Depends(require_key)],
        tags=["runs"],
        responses=FAILED,
    )

    @router.get("/runs")
    async def list_runs(
        request: Request,
        owner: Owner,
        limit: Annotated[int, Query(ge=1, le=LIST_LIMIT)] = 20,
        status: RunStatus | None = None,
        model: str | None = None,
        before: str | None = None,
    ) -> RunPage:
        """Runs without their calls, newest first; ``next`` is the ``before`` of the next page."""
        ledger: Ledger = request.app.state.ledger
        runs = await ledger.runs(
            limit=limit, before=before, status=status, model=model, key_id=owner
        )
        return RunPage(
            runs=[render_run(run, _link(request, run)) for run in runs],
            next=runs[-1].run_id if len(runs) == limit else None,
        )

    @router.get("/runs/{run_id}")
    async def show_run(request: Request, owner: Owner, run_id: str) -> WholeRunDocument:
        """One run with its calls; ``run_id`` may be a prefix that only one run has."""
        run = await _found(request, run_id, owner)
        client: Client | None = request.app.state.client
        questions: list[str] | None = []
        if run.status == "running":
            questions = await open_questions(client, run.run_id) if client else None
        return render_whole_run(run, _link(request, run), questions)

    @router.get(
        "/runs/{run_id}/events",
        response_class=EventStream,
        responses={200: {"model": EventDocument, "description": "The events, to the run's end."}},
    )
    async def watch(
        request: Request, key_id: ByKey, owner: Owner, run_id: str, after: str | None = None
    ) -> Response:
        """Follow a run: what has happened, then what happens, as server-sent events.

        Each event's data is a document. The stream ends with the run. With ``after``, or the header
        ``Last-Event-ID``, it begins behind the event with that id.
        """
        place = wanted_place(request, after)
        run = await _found(request, run_id, owner)
        client: Client | None = request.app.state.client
        if client is None:
            raise ModelError("overloaded", "There is no engine, so no run can be followed.")
        share_of(request).take(key_id)
        events = watch_run(client, request.app.state.ledger, run.run_id, place)
        return event_stream(events, request.app.state.runtime.keep_alive_s)

    @router.post("/runs/{run_id}/approve")
    async def approve_run(
        request: Request,
        _admin: Admin,
        run_id: str,
        body: Annotated[ApprovalBody, Depends(BodyOf(ApprovalBody))],
    ) -> ApprovalDocument:
        """Answer the question the run waits for."""
        run = await _found(request, run_id, None)
        client: Client | None = request.app.state.client
        if client is None:
            raise ModelError("overloaded", "There is no engine, so no run can be asked.")
        answered = await answer_question(
            client, run.run_id, approved=body.approved, question=body.question
        )
        return ApprovalDocument(run_id=run.run_id, question=answered, approved=body.approved)

    return router


async def _found(request: Request, run_id: str, owner: str | None) -> RunRecord:
    ledger: Ledger = request.app.state.ledger
    run = await ledger.run(run_id, key_id=owner)
    if run is None:
        raise ModelError("not_found", f"There is no run {run_id!r}. GET /api/runs lists them.")
    return run


def _link(request: Request, run: RunRecord) -> str | None:
    state = request.app.state
    # The address that the client itself used is one it can open.
    ui_url = f"{request.base_url}ui" if state.has_ui and run.has_workflow else None
    return workflow_link(ui_url, state.namespace, run.run_id)
