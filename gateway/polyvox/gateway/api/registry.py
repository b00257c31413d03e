"""Flows and virtual models as an HTTP API. All of it needs an admin's key: it shows prompts.

``GET /api/flows``, ``GET /api/flows/NAME`` (the schema of its parameters under ``params``),
``POST /api/flows``, ``DELETE /api/flows/NAME``, ``GET /api/flows/NAME/diff?other=NAME``;
``GET /api/models``, ``GET|PUT|PATCH|DELETE /api/models/NAME``, ``GET /api/models/NAME/history``,
``GET /api/models/NAME/diff``, ``POST /api/models/NAME/rollback``; ``POST /api/apply``.

A flow is a program that runs in the server, so ``POST /api/flows`` is open only where the operator
says so (``server.register_over_http``).

Needs ``runtime`` (Runtime) in the application's state. Errors are those of ``runs.py``.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import FROM_FILE, ModelSpec, differences
from polyvox.gateway.api.model_edits import Edit, as_it_was, earlier, edited
from polyvox.gateway.api.registry_document import (
    AppliedPlan,
    FlowDocument,
    FlowList,
    ModelDiff,
    ModelDocument,
    ModelHistory,
    ModelList,
    PlanDocument,
    RegisteredFlowDocument,
    RetiredFlows,
    SourceDiff,
    WholeFlowDocument,
    render_whole_flow,
    source_diff,
)
from polyvox.gateway.api.runs import (
    FAILED,
    Admin,
    ApiRoute,
    body_of,
    json_response,
    require_admin,
    taking,
)
from polyvox.worker.registering.registration import examine
from polyvox.workflows.errors import ErrorKind, ModelError
from polyvox.workflows.flow import FlowError
from polyvox.workflows.source.bundle import is_folder, mistakes_in_folder, pack

T = TypeVar("T")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    message: str = ""


class FlowBody(_Body):
    """Either ``source`` of one file, or ``files`` of a folder by relative path."""

    filename: str = "flow.py"
    source: str | None = None
    files: dict[str, str] | None = None
    params: dict[str, Any] = Field(default_factory=dict)


class WholeModelBody(_Body):
    flow: str
    params: dict[str, Any] = Field(default_factory=dict)
    description: str = ""
    limits: dict[str, Any] = Field(default_factory=dict)
    card: dict[str, Any] = Field(default_factory=dict)


class ModelEditBody(_Body):
    flow: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    unset: list[str] = Field(default_factory=list)
    description: str | None = None
    limits: dict[str, Any] = Field(default_factory=dict)
    card: dict[str, Any] = Field(default_factory=dict)


class RollbackBody(_Body):
    version: int | None = None


class ApplyBody(_Body):
    """The models of a whole configuration; ``dry_run`` only tells what would change."""

    models: dict[str, WholeModelBody]
    dry_run: bool = False


def registry_router() -> APIRouter:
    """Return the routes, to be included in the application."""
    router = APIRouter(
        prefix="/api",
        route_class=ApiRoute,
        dependencies=[Depends(require_admin)],
        tags=["registry"],
        responses=FAILED,
    )
    _add_flows(router)
    _add_models(router)
    return router


def _add_flows(router: APIRouter) -> None:
    # A dry run takes a core or two for a moment; many at once would take them from the runs.
    trying = asyncio.Semaphore(1)

    @router.get("/flows", response_model=FlowList)
    async def list_flows(request: Request) -> Response:
        """All versions of all flows, retired ones too."""
        flows = await _ask(request, Registry.flows)
        return json_response(FlowList.model_validate({"flows": flows}))

    @router.get("/flows/{name}", response_model=WholeFlowDocument)
    async def show_flow(request: Request, name: str) -> Response:
        """A flow's newest version or ``careful@2``: parameters' schema, source, who uses it."""

        def shown(registry: Registry) -> WholeFlowDocument:
            return render_whole_flow(registry, registry.flow(name))

        return json_response(await _ask(request, shown, "not_found"))

    @router.get("/flows/{name}/diff", response_model=SourceDiff)
    async def diff_flows(request: Request, name: str, other: str) -> Response:
        """The unified diff from ``name`` to ``other``."""

        def compared(registry: Registry) -> SourceDiff:
            return source_diff(registry, registry.flow(name), registry.flow(other))

        return json_response(await _ask(request, compared))

    @router.post("/flows", response_model=RegisteredFlowDocument, openapi_extra=taking(FlowBody))
    async def register_flow(
        request: Request,
        admin: Admin,
        _open: Annotated[None, Depends(_is_open)],
        body: Annotated[FlowBody, Depends(body_of(FlowBody))],
    ) -> Response:
        """Register a flow: tried, then stored as the next version; the same source is the same."""
        providers = request.app.state.runtime.providers

        def registered(registry: Registry) -> RegisteredFlowDocument:
            source = _source(body)
            candidate = examine(source, body.filename, params=body.params, providers=providers)
            version = registry.register(
                candidate.source, candidate.filename, message=body.message, author=admin
            )
            stored = FlowDocument.model_validate(version).model_dump()
            return RegisteredFlowDocument(**stored, doubts=list(candidate.doubts))

        async with trying:
            return json_response(await _ask(request, registered))

    @router.delete("/flows/{name}", response_model=RetiredFlows)
    async def retire_flow(request: Request, _admin: Admin, name: str) -> Response:
        """Take ``careful@2``, or all of ``careful``, out of use for new runs."""
        retired = await _ask(request, lambda registry: registry.retire_flow(name))
        return json_response(RetiredFlows.model_validate({"retired": retired}))


def _add_models(router: APIRouter) -> None:
    @router.get("/models", response_model=ModelList)
    async def list_models(request: Request) -> Response:
        models = await _ask(request, Registry.virtual_models)
        return json_response(ModelList.model_validate({"models": models}))

    @router.get("/models/{name:path}/history", response_model=ModelHistory)
    async def show_history(request: Request, name: str) -> Response:
        """All versions, newest first."""
        history = await _ask(request, lambda registry: registry.history(name))
        if not history:
            raise ModelError("not_found", f"There never was a model {name!r}.")
        return json_response(ModelHistory.model_validate({"history": history[::-1]}))

    @router.get("/models/{name:path}/diff", response_model=ModelDiff)
    async def diff_model(
        request: Request, name: str, before: int | None = None, after: int | None = None
    ) -> Response:
        """What differs between two versions; by default the last two."""

        def compared(registry: Registry) -> ModelDiff:
            history = registry.history(name)
            last = after if after is not None else len(history)
            first = before if before is not None else max(1, last - 1)
            one, other = (earlier(name, history, number) for number in (first, last))
            changed = differences(one.document(), other.document())
            return ModelDiff(before=one.version, after=other.version, differences=list(changed))

        return json_response(await _ask(request, compared))

    @router.get("/models/{name:path}", response_model=ModelDocument)
    async def show_model(request: Request, name: str) -> Response:
        found = await _ask(request, lambda registry: registry.virtual_model(name), "not_found")
        return json_response(ModelDocument.model_validate(found))

    @router.post(
        "/models/{name:path}/rollback",
        response_model=PlanDocument,
        openapi_extra=taking(RollbackBody),
    )
    async def roll_back(
        request: Request,
        admin: Admin,
        name: str,
        body: Annotated[RollbackBody, Depends(body_of(RollbackBody))],
    ) -> Response:
        """Make a model what it was in ``version``, or in the one before the newest."""

        def rolled(registry: Registry) -> PlanDocument:
            goal = earlier(name, registry.history(name), body.version)
            told = body.message or f"back to version {goal.version}"
            return _changed(request, registry, {name: as_it_was(goal)}, admin, told)

        return json_response(await _ask(request, rolled))

    @router.put(
        "/models/{name:path}", response_model=PlanDocument, openapi_extra=taking(WholeModelBody)
    )
    async def put_model(
        request: Request,
        admin: Admin,
        name: str,
        body: Annotated[WholeModelBody, Depends(body_of(WholeModelBody))],
    ) -> Response:
        """Make the model exactly this."""
        wanted = {name: _wanted(body)}
        return json_response(
            await _ask(request, lambda r: _changed(request, r, wanted, admin, body.message))
        )

    @router.patch(
        "/models/{name:path}", response_model=PlanDocument, openapi_extra=taking(ModelEditBody)
    )
    async def edit_model(
        request: Request,
        admin: Admin,
        name: str,
        body: Annotated[ModelEditBody, Depends(body_of(ModelEditBody))],
    ) -> Response:
        """Change what is named, as the model's next version."""

        def made(registry: Registry) -> PlanDocument:
            present = {b.model: b for b in registry.virtual_models()}.get(name)
            edit = Edit(
                body.flow, body.params, body.unset, body.description, body.limits, body.card
            )
            wanted = {name: edited(name, present, edit)}
            return _changed(request, registry, wanted, admin, body.message)

        return json_response(await _ask(request, made))

    @router.delete("/models/{name:path}", response_model=PlanDocument)
    async def retire_model(request: Request, admin: Admin, name: str) -> Response:
        """Take the name out of use."""
        return json_response(
            await _ask(request, lambda r: _changed(request, r, {name: None}, admin, "retired"))
        )

    @router.post("/apply", response_model=AppliedPlan, openapi_extra=taking(ApplyBody))
    async def apply(
        request: Request, admin: Admin, body: Annotated[ApplyBody, Depends(body_of(ApplyBody))]
    ) -> Response:
        """Make the models of the configuration file these, as one change."""
        wanted = {name: _wanted(model) for name, model in body.models.items()}

        def applied(registry: Registry) -> AppliedPlan:
            plan = registry.change(
                wanted,
                author=admin,
                message=body.message,
                origin=FROM_FILE,
                absent_of=FROM_FILE,
                providers=request.app.state.runtime.providers,
                dry_run=body.dry_run,
            )
            return AppliedPlan(plan=list(plan), dry_run=body.dry_run)

        return json_response(await _ask(request, applied))


async def _is_open(request: Request) -> None:
    if not request.app.state.runtime.settings.server.register_over_http:
        raise ModelError(
            "permission",
            "Flows cannot be registered over HTTP here, because a flow is a program that runs in "
            "the server. Use `polyvox register FILE` on the server's machine, or set "
            "server.register_over_http = true in polyvox.toml.",
        )


async def _ask(
    request: Request, work: Callable[[Registry], T], wrong: ErrorKind = "invalid_request"
) -> T:
    """Do ``work`` off the event loop; a FlowError is the client's mistake, ``wrong`` its kind."""
    try:
        return await asyncio.to_thread(work, request.app.state.runtime.registry)
    except FlowError as error:
        raise ModelError(wrong, str(error)) from None


def _changed(
    request: Request,
    registry: Registry,
    wanted: Mapping[str, ModelSpec | None],
    author: str,
    message: str,
) -> PlanDocument:
    providers = request.app.state.runtime.providers
    plan = registry.change(wanted, author=author, message=message, providers=providers)
    return PlanDocument(plan=list(plan))


def _wanted(body: Annotated[WholeModelBody, Depends(body_of(WholeModelBody))]) -> ModelSpec:
    return ModelSpec(body.flow, body.params, body.description, body.limits, body.card)


def _source(body: Annotated[FlowBody, Depends(body_of(FlowBody))]) -> str:
    if (body.source is None) == (body.files is None):
        raise FlowError("Give either source, the text of one file, or files, by relative path.")
    if body.source is not None:
        if is_folder(body.source):
            raise FlowError("Give a folder's files by relative path as files, not as source.")
        return body.source
    files = body.files or {}
    if found := list(mistakes_in_folder(files)):
        raise FlowError("\n".join(found))
    return pack(files)
