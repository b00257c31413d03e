"""Flows and virtual models as an HTTP API. All of it needs an admin key: it shows prompts.

``GET /api/flows``, ``GET /api/flows/NAME`` (the schema of its parameters under ``params``),
``POST /api/flows``, ``DELETE /api/flows/NAME``, ``GET /api/flows/NAME/diff?other=NAME``;
``GET /api/models``, ``GET|PUT|PATCH|DELETE /api/models/NAME``, ``GET /api/models/NAME/history``,
``GET /api/models/NAME/diff``, ``POST /api/models/NAME/rollback``; ``POST /api/apply``.

A flow is a program that runs in the server, so ``POST /api/flows`` works only with
``server.register_over_http``. Routes that are not coroutines run in FastAPI's threads, because the
registry blocks. Needs what ``route`` needs.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import FROM_FILE, ModelSpec
from polyvox.gateway.api.model_edits import ModelEdit, as_it_was, earlier, edited
from polyvox.gateway.api.registry_document import (
    AppliedPlan,
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
    model_diff,
    render_registered,
    render_whole_flow,
    source_diff,
)
from polyvox.gateway.api.route import FAILED, Admin, ApiRoute, BodyOf, require_admin
from polyvox.worker.registering.registration import examine
from polyvox.worker.runtime import Runtime
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import FlowError
from polyvox.workflows.source.bundle import is_folder, mistakes_in_folder, pack


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

    def spec(self) -> ModelSpec:
        return ModelSpec(self.flow, self.params, self.description, self.limits, self.card)


class RollbackBody(_Body):
    version: int | None = None


class ApplyBody(_Body):
    """The models of a whole configuration; ``dry_run`` only reports what would change."""

    models: dict[str, WholeModelBody]
    dry_run: bool = False


async def _registry(request: Request) -> Registry:
    runtime: Runtime = request.app.state.runtime
    return runtime.registry


async def _change(request: Request, admin: Admin) -> Callable[..., PlanDocument]:
    """Return the registry's ``change`` as the request's key makes it."""
    runtime: Runtime = request.app.state.runtime
    change = partial(runtime.registry.change, author=admin, providers=runtime.providers)
    return lambda *wanted, **options: PlanDocument(plan=list(change(*wanted, **options)))


Flow = Annotated[FlowBody, Depends(BodyOf(FlowBody))]
WholeModel = Annotated[WholeModelBody, Depends(BodyOf(WholeModelBody))]
Editing = Annotated[ModelEdit, Depends(BodyOf(ModelEdit))]
Rollback = Annotated[RollbackBody, Depends(BodyOf(RollbackBody))]
Apply = Annotated[ApplyBody, Depends(BodyOf(ApplyBody))]
Known = Annotated[Registry, Depends(_registry)]
Changing = Annotated[Callable[..., PlanDocument], Depends(_change)]


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
    # A dry run takes a core or two for a moment; several at once would slow down the runs.
    trying = asyncio.Semaphore(1)

    @router.get("/flows")
    def list_flows(registry: Known) -> FlowList:
        """All versions of all flows, retired ones too."""
        return FlowList.model_validate({"flows": registry.flows()})

    @router.get("/flows/{name}")
    def show_flow(registry: Known, name: str) -> WholeFlowDocument:
        """A flow's newest version or ``careful@2``: its parameters' schema, source and users."""
        with _not_found():
            return render_whole_flow(registry, registry.flow(name))

    @router.get("/flows/{name}/diff")
    def diff_flows(registry: Known, name: str, other: str) -> SourceDiff:
        """The unified diff from ``name`` to ``other``."""
        return source_diff(registry, registry.flow(name), registry.flow(other))

    @router.post("/flows")
    async def register_flow(
        request: Request, admin: Admin, _open: Annotated[None, Depends(_is_open)], body: Flow
    ) -> RegisteredFlowDocument:
        """Dry-run a flow and store it as the next version; known source keeps its version."""
        runtime: Runtime = request.app.state.runtime
        async with trying:
            return await asyncio.to_thread(_register, runtime, body, admin)

    @router.delete("/flows/{name}")
    def retire_flow(registry: Known, _admin: Admin, name: str) -> RetiredFlows:
        """Take ``careful@2``, or all of ``careful``, out of use for new runs."""
        return RetiredFlows.model_validate({"retired": registry.retire_flow(name)})


def _add_models(router: APIRouter) -> None:
    @router.get("/models")
    def list_models(registry: Known) -> ModelList:
        """All virtual models."""
        return ModelList.model_validate({"models": registry.virtual_models()})

    @router.get("/models/{name:path}/history")
    def show_history(registry: Known, name: str) -> ModelHistory:
        """All versions, newest first."""
        history = registry.history(name)
        if not history:
            raise ModelError("not_found", f"No model {name!r} has ever existed.")
        return ModelHistory.model_validate({"history": history[::-1]})

    @router.get("/models/{name:path}/diff")
    def diff_model(
        registry: Known, name: str, before: int | None = None, after: int | None = None
    ) -> ModelDiff:
        """What differs between two versions; by default the last two."""
        return model_diff(name, registry.history(name), before, after)

    @router.get("/models/{name:path}")
    def show_model(registry: Known, name: str) -> ModelDocument:
        """The current version of a virtual model."""
        with _not_found():
            return ModelDocument.model_validate(registry.virtual_model(name))

    @router.post("/models/{name:path}/rollback")
    def roll_back(registry: Known, change: Changing, name: str, body: Rollback) -> PlanDocument:
        """Make a model what it was in ``version``, or in the one before the newest."""
        goal = earlier(name, registry.history(name), body.version)
        message = body.message or f"back to version {goal.version}"
        return change({name: as_it_was(goal)}, message=message)

    @router.put("/models/{name:path}")
    def put_model(change: Changing, name: str, body: WholeModel) -> PlanDocument:
        """Create the model or replace all of it, as its next version."""
        return change({name: body.spec()}, message=body.message)

    @router.patch("/models/{name:path}")
    def edit_model(registry: Known, change: Changing, name: str, body: Editing) -> PlanDocument:
        """Change the members that the body has, as the model's next version."""
        present = {model.model: model for model in registry.virtual_models()}.get(name)
        return change({name: edited(name, present, body)}, message=body.message)

    @router.delete("/models/{name:path}")
    def retire_model(change: Changing, name: str) -> PlanDocument:
        """Take the name out of use."""
        return change({name: None}, message="retired")

    @router.post("/apply")
    def apply(change: Changing, body: Apply) -> AppliedPlan:
        """Make the models of the configuration file these, as one change."""
        planned = change(
            {name: model.spec() for name, model in body.models.items()},
            message=body.message,
            origin=FROM_FILE,
            absent_of=FROM_FILE,
            dry_run=body.dry_run,
        )
        return AppliedPlan(plan=planned.plan, dry_run=body.dry_run)


async def _is_open(request: Request) -> None:
    if not request.app.state.runtime.settings.server.register_over_http:
        raise ModelError(
            "permission",
            "Flows cannot be registered over HTTP here, because a flow is a program that runs in "
            "the server. Use `polyvox register FILE` on the server's machine, or set "
            "server.register_over_http = true in polyvox.toml.",
        )


@contextmanager
def _not_found() -> Iterator[None]:
    """Raise ModelError("not_found") for a FlowError: the path names what does not exist."""
    try:
        yield
    except FlowError as error:
        raise ModelError("not_found", str(error)) from None


def _register(runtime: Runtime, body: FlowBody, author: str) -> RegisteredFlowDocument:
    candidate = examine(
        _source(body), body.filename, params=body.params, providers=runtime.providers
    )
    version = runtime.registry.register(
        candidate.source, candidate.filename, message=body.message, author=author
    )
    return render_registered(runtime.registry, version, candidate.doubts)


def _source(body: FlowBody) -> str:
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
