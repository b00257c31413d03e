"""The routes by which clients ask for models, each answered in the client's protocol."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from polyvox.activities.registry.registry import ResolvedModel
from polyvox.gateway.http.auth import key_of
from polyvox.gateway.http.errors import JsonResponse, protocol_of
from polyvox.protocols.client_side import ModelEntry
from polyvox.worker.runtime import Runtime


def models_router() -> APIRouter:
    router = APIRouter()
    router.add_route("/v1/models", list_models, methods=["GET"])
    router.add_route("/v1/models/{model:path}", one_model, methods=["GET"])
    return router


async def list_models(request: Request) -> Response:
    runtime: Runtime = request.app.state.runtime
    await key_of(request)
    entries = [_entry(model) for model in runtime.registry.models()]
    query = request.query_params.multi_items()
    return JsonResponse(protocol_of(request).model_list.render_list(entries, query))


async def one_model(request: Request) -> Response:
    runtime: Runtime = request.app.state.runtime
    await key_of(request)
    model = runtime.registry.resolve(request.path_params["model"], runtime.providers)
    return JsonResponse(protocol_of(request).model_list.render_model(_entry(model)))


def _entry(model: ResolvedModel) -> ModelEntry:
    card = model.parsed_card
    return ModelEntry(
        model.model,
        model.description,
        model.created_at or datetime.fromtimestamp(0, UTC),
        card.context_window,
        card.max_output_tokens,
        card.capabilities,
        card.efforts,
    )
