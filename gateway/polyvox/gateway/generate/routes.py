"""The routes that answer in the protocol of their path, and those of the server's state."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from polyvox.gateway.generate.caller import caller_of
from polyvox.gateway.generate.choices import Choices
from polyvox.gateway.generate.joining import answering_run
from polyvox.gateway.generate.sinks import HttpAnswer
from polyvox.gateway.generate.token_count import count_tokens
from polyvox.gateway.http.admission import share_of
from polyvox.gateway.http.auth import key_of
from polyvox.gateway.http.errors import JsonResponse
from polyvox.gateway.http.request_body import read_document, read_identified
from polyvox.protocols.wire_protocol import ROOT, Protocols, TokenCount, WireProtocol
from polyvox.worker.readiness import OK
from polyvox.worker.runtime import Runtime
from polyvox.workflows.errors import ModelError


def create_router(protocols: Protocols) -> APIRouter:
    router = APIRouter()
    # Starlette's routes, not FastAPI's: the protocols validate and serialise.
    for protocol in protocols.values():
        if not protocol.stateful:
            router.add_route(protocol.route, _generation(protocol), methods=["POST"])
            if (counted_by := protocol.token_count) is not None:
                counting = _counting(protocol, counted_by)
                router.add_route(ROOT + counted_by.path, counting, methods=["POST"])
    stored = "/v1/chat/completions"
    router.add_route(stored, refuse_stored_chat, methods=["GET"])
    one_stored = f"{stored}/{{completion:path}}"
    router.add_route(one_stored, refuse_stored_chat, methods=["GET", "POST", "DELETE"])
    router.add_route("/healthz", healthz, methods=["GET"])
    router.add_route("/readyz", readyz, methods=["GET"])
    router.add_route("/", root, methods=["GET", "HEAD"])
    router.add_route("/api/hello", root, methods=["HEAD"])
    return router


def _generation(protocol: WireProtocol) -> Callable[[Request], Awaitable[Any]]:
    async def generate(request: Request) -> Any:
        runtime: Runtime = request.app.state.runtime
        key_id = await key_of(request)
        share = share_of(request)
        share.take(key_id)
        document, sent = await read_identified(request, key_id)
        ask = await share.work(lambda: protocol.parser.parse(document, request.headers))
        caller = caller_of(request, key_id, sent)
        if (wanted := protocol.choices_wanted(ask)) > 1:
            share.take(key_id, wanted - 1)
            return HttpAnswer(await Choices.joined(runtime, ask, caller))
        run = await answering_run(runtime, caller)
        return HttpAnswer(run.exchange(runtime, protocol.answers, ask, caller, run_id=run.run_id))

    return generate


def _counting(
    protocol: WireProtocol, counted_by: TokenCount
) -> Callable[[Request], Awaitable[Response]]:
    async def count(request: Request) -> Response:
        share = share_of(request)
        key_id = await key_of(request)
        share.take(key_id)
        document = await read_document(request)
        whole = {**counted_by.defaults, **document}
        ask = await share.work(lambda: protocol.parser.parse(whole, request.headers))
        return await count_tokens(request, ask, key_id, counted_by)

    return count


async def refuse_stored_chat(request: Request) -> Response:
    """Refuse to look for a stored chat completion: only responses are stored."""
    await key_of(request)
    raise ModelError(
        "not_found",
        "Chat completions are not stored here, not even with store=true. Use /v1/responses: its "
        "responses can be read again at /v1/responses/ID.",
    )


async def healthz(_request: Request) -> Response:
    """The process is alive."""
    return JsonResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Requests can be served: the engine answers, and every store can be written."""
    engine = request.app.state.runtime.engine
    stores: dict[str, str] = await request.app.state.stores.states()
    stopping = request.app.state.draining.has_begun
    ready = engine.state == "running" and {*stores.values()} == {OK} and not stopping
    return JsonResponse(
        {
            "status": "stopping" if stopping else "ready" if ready else "not ready",
            "engine": engine.state,
            "stores": dict(stores),
        },
        status_code=200 if ready else 503,
    )


async def root(_request: Request) -> Response:
    return PlainTextResponse("Polyvox: a model endpoint. See /v1/models.\n")
