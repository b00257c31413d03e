"""The runs as an HTTP API: ``GET /api/runs``, ``GET /api/runs/{id}``, ``POST .../approve``.

A key sees the runs it started, an admin's key everybody's; for the others there are no other runs.
Approving needs an admin's key.

Needs ``ledger`` (Ledger), ``protocols`` (Protocols), ``client`` (the engine's Client, None without
an engine), ``has_ui`` (whether there is a Web UI at ``/ui``) and ``namespace`` (str) in the
application's state, and ``runtime`` (Runtime) where a body is read. Errors are
``{"error": {"kind", "message"}}``.
"""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, ConfigDict, ValidationError
from temporalio.client import Client

from polyvox.activities.ledger.entries import RunRecord, RunStatus
from polyvox.activities.ledger.ledger import LIST_LIMIT, Ledger
from polyvox.activities.storage.storable_json import text_mistake, unstorable
from polyvox.gateway.api.document import Document, Problem, ProblemDocument
from polyvox.gateway.api.run_document import (
    ApprovalDocument,
    RunPage,
    WholeRunDocument,
    render_run,
    render_whole_run,
    workflow_link,
)
from polyvox.gateway.http.auth import key_of
from polyvox.gateway.http.request_body import read_document
from polyvox.worker.runs.approval import answer_question, open_questions
from polyvox.workflows.errors import ModelError

Body = TypeVar("Body", bound=BaseModel)


class ApiRoute(APIRoute):
    """A route whose failures are typed documents, whatever the application does elsewhere."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_or_error(request: Request) -> Response:
            try:
                _check_address(request)
                return await answer(request)
            except ModelError as error:
                return _error(error)
            except RequestValidationError as error:
                return _error(ModelError("invalid_request", _mistakes(error)))

        return answer_or_error


_BEARER = HTTPBearer(auto_error=False, description="A Polyvox key.")
_HEADER = APIKeyHeader(name="x-api-key", auto_error=False, description="A Polyvox key.")


async def require_key(
    request: Request,
    _bearer: Annotated[object, Security(_BEARER)] = None,
    _header: Annotated[object, Security(_HEADER)] = None,
) -> str:
    """Return the id of the request's key. The parameters only tell of it in the description."""
    return await key_of(request)


async def require_admin(request: Request, key_id: Annotated[str, Depends(require_key)]) -> str:
    """Return the id of an admin's key. Raises ModelError("permission") for another's."""
    if await request.app.state.ledger.role_of(key_id) != "admin":
        raise ModelError(
            "permission",
            f"Key {key_id} is a user's, and this needs an admin's: the one in the file admin_key "
            "of the data folder, or a new one of `polyvox keys create NAME --role admin`.",
        )
    return key_id


Admin = Annotated[str, Depends(require_admin)]


@dataclass(frozen=True, slots=True)
class Sight:
    """Whose runs a request may see: those of ``key_id``, everybody's if it is None."""

    key_id: str | None


async def sight_of(request: Request, key_id: Annotated[str, Depends(require_key)]) -> Sight:
    """Return whose runs the request's key may see."""
    role = await request.app.state.ledger.role_of(key_id)
    return Sight(None if role == "admin" else key_id)


Seeing = Annotated[Sight, Depends(sight_of)]


def body_of(form: type[Body]) -> Callable[[Request], Coroutine[Any, Any, Body]]:
    """Return the dependency that reads a request's body as ``form``.

    The body is read like those of models: within the limits of size and depth, and after the key
    was checked, which FastAPI's own reading is not.
    """

    async def read(request: Request) -> Body:
        document = await read_document(request)
        if wrong := list(unstorable(document)):
            raise ModelError("invalid_request", " ".join(wrong[:5]))
        try:
            return form.model_validate(document)
        except ValidationError as error:
            raise ModelError("invalid_request", _mistakes(error)) from None

    return read


def taking(form: type[BaseModel]) -> dict[str, Any]:
    """Return what the description of the API says of a body that ``body_of(form)`` reads."""
    schema = {"$ref": f"#/components/schemas/{form.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


FAILED: dict[int | str, dict[str, Any]] = {
    "default": {"model": ProblemDocument, "description": "The request failed."}
}


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

    @router.get("/runs", response_model=RunPage)
    async def list_runs(
        request: Request,
        sight: Seeing,
        limit: Annotated[int, Query(ge=1, le=LIST_LIMIT)] = 20,
        status: RunStatus | None = None,
        model: str | None = None,
        before: str | None = None,
    ) -> Response:
        """Runs without their calls, newest first; ``next`` is the ``before`` of the next page."""
        ledger: Ledger = request.app.state.ledger
        runs = await ledger.runs(
            limit=limit, before=before, status=status, model=model, key_id=sight.key_id
        )
        return json_response(
            RunPage(
                runs=[render_run(run, _link(request, run.run_id)) for run in runs],
                next=runs[-1].run_id if len(runs) == limit else None,
            )
        )

    @router.get("/runs/{run_id}", response_model=WholeRunDocument)
    async def show_run(request: Request, sight: Seeing, run_id: str) -> Response:
        """One run with its calls; ``run_id`` may be a prefix that only one run has."""
        run = await _found(request, run_id, sight)
        client: Client | None = request.app.state.client
        questions: list[str] | None = []
        if run.status == "running":
            questions = await open_questions(client, run.run_id) if client else None
        return json_response(render_whole_run(run, _link(request, run.run_id), questions))

    @router.post(
        "/runs/{run_id}/approve",
        response_model=ApprovalDocument,
        openapi_extra=taking(ApprovalBody),
    )
    async def approve_run(
        request: Request,
        _admin: Admin,
        run_id: str,
        body: Annotated[ApprovalBody, Depends(body_of(ApprovalBody))],
    ) -> Response:
        """Answer the question the run waits for."""
        run = await _found(request, run_id, Sight(None))
        client: Client | None = request.app.state.client
        if client is None:
            raise ModelError("overloaded", "There is no engine that runs could be asked.")
        answered = await answer_question(
            client, run.run_id, approved=body.approved, question=body.question
        )
        return json_response(
            ApprovalDocument(run_id=run.run_id, question=answered, approved=body.approved)
        )

    return router


async def _found(request: Request, run_id: str, sight: Sight) -> RunRecord:
    ledger: Ledger = request.app.state.ledger
    run = await ledger.run(run_id, key_id=sight.key_id)
    if run is None:
        raise ModelError("not_found", f"There is no run {run_id!r}. GET /api/runs lists them.")
    return run


def _link(request: Request, run_id: str) -> str | None:
    state = request.app.state
    # The address that the client itself used is one it can open.
    ui_url = f"{request.base_url}ui" if state.has_ui else None
    return workflow_link(ui_url, state.namespace, run_id)


def json_response(document: Document, status: int = 200) -> Response:
    return Response(document.to_json(), status, media_type="application/json")


def _error(error: ModelError) -> Response:
    problem = Problem(kind=error.kind, message=error.message)
    return json_response(ProblemDocument(error=problem), error.http_status)


def _check_address(request: Request) -> None:
    """Refuse a path or query that no database can look up."""
    for where, values in (("path", request.path_params), ("query", request.query_params)):
        for name, value in values.items():
            if mistake := text_mistake(f"{name}{value}"):
                raise ModelError("invalid_request", f"The {where}'s {name!r} {mistake}")


def _mistakes(error: RequestValidationError | ValidationError) -> str:
    """Each wrong parameter, as ``name: what is wrong``."""
    return "; ".join(_told(error))


def _told(error: RequestValidationError | ValidationError) -> Iterator[str]:
    for mistake in error.errors():
        place = mistake["loc"][-1] if mistake["loc"] else "the body"
        yield f"{place}: {mistake['msg']}"
