"""The routes clients call. The route gives the protocol; everything else is the exchange's."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from polyvox.gateway.generate.choices import Choices
from polyvox.gateway.generate.exchange import Exchange, caller_of
from polyvox.gateway.generate.sinks import HttpAnswer
from polyvox.gateway.generate.token_count import provider_count
from polyvox.gateway.http.admission import share_of
from polyvox.gateway.http.auth import authenticate
from polyvox.gateway.http.request_body import read_document
from polyvox.gateway.models.routes import list_models, one_model
from polyvox.protocols.chat import client_request as chat
from polyvox.protocols.client_side import Front
from polyvox.protocols.messages import client_request as messages
from polyvox.protocols.responses import client_request as responses
from polyvox.worker.runtime import Runtime
from polyvox.workflows.errors import ModelError

FRONTS: dict[str, Front] = {"chat": chat, "responses": responses, "messages": messages}

PATHS = {"/v1/chat/completions": "chat", "/v1/responses": "responses", "/v1/messages": "messages"}


def front_of(request: Request) -> Front:
    return front_for(request.url.path, request.headers)


def front_for(path: str, headers: Mapping[str, str]) -> Front:
    """Return the protocol a path speaks; the shared ones tell by the anthropic-version header."""
    for beginning, protocol in PATHS.items():
        if path.startswith(beginning):
            return FRONTS[protocol]
    return FRONTS["messages" if "anthropic-version" in headers else "chat"]


def create_router() -> APIRouter:
    router = APIRouter()
    for path, protocol in PATHS.items():
        # Starlette's routes, not FastAPI's: there is nothing to validate or serialise for it here.
        if protocol != "responses":  # which keeps its answers, and has routes of its own
            router.add_route(path, _generation(FRONTS[protocol]), methods=["POST"])
    stored = "/v1/chat/completions"
    router.add_route(stored, refuse_stored_chat, methods=["GET"])
    one_stored = f"{stored}/{{completion:path}}"
    router.add_route(one_stored, refuse_stored_chat, methods=["GET", "POST", "DELETE"])
    router.add_route("/v1/messages/count_tokens", count_tokens, methods=["POST"])
    router.add_route("/v1/models", models, methods=["GET"])
    router.add_route("/v1/models/{model:path}", model, methods=["GET"])
    router.add_route("/healthz", healthz, methods=["GET"])
    router.add_route("/readyz", readyz, methods=["GET"])
    router.add_route("/", root, methods=["GET", "HEAD"])
    router.add_route("/api/hello", root, methods=["HEAD"])
    return router


def _generation(front: Front) -> Callable[[Request], Awaitable[Any]]:
    async def generate(request: Request) -> Any:
        runtime: Runtime = request.app.state.runtime
        key_id = await authenticate(request.headers, runtime.ledger)
        share = share_of(request)
        share.take(key_id)
        document = await read_document(request)
        ask = await share.work(lambda: front.parse(document, request.headers))
        caller = caller_of(request, key_id)
        if front is chat and (wanted := chat.choices_wanted(ask)) > 1:
            share.take(key_id, wanted - 1)
            return HttpAnswer(Choices(runtime, ask, caller))
        return HttpAnswer(Exchange(runtime, front, ask, caller))

    return generate


async def refuse_stored_chat(request: Request) -> Response:
    """Say that no chat completion is kept here; an answer that is kept is a response."""
    await authenticate(request.headers, request.app.state.runtime.ledger)
    raise ModelError(
        "not_found",
        "Chat completions are not kept here, also not with store=true. Ask /v1/responses instead: "
        "what it answers can be read again at /v1/responses/ID.",
    )


async def count_tokens(request: Request) -> Response:
    """Count the input's tokens: by the provider, else ``x-polyvox-estimate`` marks a guess."""
    runtime: Runtime = request.app.state.runtime
    share = share_of(request)
    share.take(await authenticate(request.headers, runtime.ledger))
    document = await read_document(request)
    ask = await share.work(lambda: messages.parse({"max_tokens": 1, **document}, request.headers))
    counted = await provider_count(runtime, ask)
    if counted is not None:
        return JSONResponse({"input_tokens": counted})
    return JSONResponse(
        {"input_tokens": await share.work(lambda: messages.estimate_tokens(document))},
        headers={"x-polyvox-estimate": "true"},
    )


async def models(request: Request) -> Response:
    runtime: Runtime = request.app.state.runtime
    await authenticate(request.headers, runtime.ledger)
    return JSONResponse(
        list_models(runtime.registry.models(), request.query_params, front_of(request))
    )


async def model(request: Request) -> Response:
    runtime: Runtime = request.app.state.runtime
    await authenticate(request.headers, runtime.ledger)
    binding = runtime.registry.resolve(request.path_params["model"], runtime.providers)
    return JSONResponse(one_model(binding, front_of(request)))


async def healthz(_request: Request) -> Response:
    """The process is alive."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Requests can be served: the engine answers."""
    engine = request.app.state.runtime.engine
    ready = engine.state == "running"
    return JSONResponse(
        {"status": "ready" if ready else "not ready", "engine": engine.state},
        status_code=200 if ready else 503,
    )


async def root(_request: Request) -> Response:
    return PlainTextResponse("Polyvox: a model endpoint. See /v1/models.\n")
