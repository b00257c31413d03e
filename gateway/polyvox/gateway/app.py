"""The gateway's ASGI application: routes, and every error in the protocol of its path."""

import secrets

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response

from polyvox.activities.limits.fair_queue import Bounds
from polyvox.gateway.api.description import description_router
from polyvox.gateway.api.registry import registry_router
from polyvox.gateway.api.runs import api_router
from polyvox.gateway.generate.places import STARTS_AT_ONCE, Places
from polyvox.gateway.generate.routes import create_router
from polyvox.gateway.http.admission import Admission, WithShares
from polyvox.gateway.http.draining import Draining
from polyvox.gateway.http.errors import (
    JsonResponse,
    defect_error,
    error_for,
    protocol_of,
    retry_headers,
)
from polyvox.gateway.http.hosts import HostGuard, Names, is_ui
from polyvox.gateway.http.request_log import facts_of, path_of
from polyvox.gateway.models.routes import models_router
from polyvox.gateway.responses.conversation_routes import conversations_router
from polyvox.gateway.responses.routes import responses_router
from polyvox.gateway.responses.state import ResponsesState
from polyvox.gateway.responses.websocket import websocket_router
from polyvox.gateway.web_ui.proxy import UiProxy
from polyvox.gateway.web_ui.sign_in import UiSignIn, ui_router
from polyvox.worker.readiness import Stores
from polyvox.worker.runtime import Runtime
from polyvox.workflows.errors import ErrorKind, ModelError

_KINDS: dict[int, ErrorKind] = {404: "not_found", 405: "invalid_request"}
_WHAT = {404: "No such route", 405: "This route does not allow the method"}


def create_app(runtime: Runtime, draining: Draining | None = None) -> FastAPI:
    """Return the application that serves ``runtime``; it is not ready while ``draining``."""
    app = FastAPI(title="Polyvox", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.runtime = runtime
    app.state.draining = draining or Draining()
    app.state.ledger = runtime.ledger
    app.state.protocols = runtime.protocols
    app.state.client = runtime.client
    ui_url = runtime.engine.ui_url
    app.state.ui_sign_in = UiSignIn(
        runtime.ledger, runtime.ui_sessions, UiProxy(ui_url) if ui_url else None
    )
    app.state.has_ui = ui_url is not None
    app.state.namespace = runtime.engine.namespace
    app.state.responses = ResponsesState(runtime)
    app.state.stores = Stores(runtime.database, runtime.store, runtime.engine)
    server = runtime.settings.server
    admission = app.state.admission = Admission(
        requests_per_key=server.max_requests_per_key, max_body_mib=server.max_body_mib
    )
    app.state.places = Places(
        Bounds(server.max_runs, server.max_queued, server.queue_s),
        Bounds(STARTS_AT_ONCE, server.max_queued, server.queue_s),
    )
    app.include_router(create_router(runtime.protocols))
    app.include_router(models_router())
    app.include_router(responses_router())
    app.include_router(websocket_router())
    app.include_router(conversations_router())
    app.include_router(api_router())
    app.include_router(registry_router())
    app.include_router(description_router())
    app.include_router(ui_router(app.state.ui_sign_in))
    # Complete answers only: compression would delay the events of a stream.
    app.add_middleware(GZipMiddleware, minimum_size=4096, compresslevel=1)
    app.add_middleware(WithShares, admission=admission)
    names = Names({server.host, *server.allowed_hosts}, server.allowed_origins)
    app.add_middleware(HostGuard, names=names, render=_refused)
    app.add_exception_handler(ModelError, _model_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _http_error)
    for kind in (SQLAlchemyError, OSError, Exception):
        app.add_exception_handler(kind, _defect)
    return app


async def _model_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ModelError)
    error = error_for(error, request.headers)
    # There is no run whose id could identify the request in a report; the log has this id.
    request_id = f"req_{secrets.token_hex(12)}"
    status, document = protocol_of(request).answers.render_error(error, None)
    if "request_id" in document:
        document["request_id"] = request_id
    facts_of(request).fail(error)
    headers = {name.decode(): value.decode() for name, value in retry_headers(error, status)}
    ids = {"x-request-id": request_id, "request-id": request_id}
    return JsonResponse(document, status_code=status, headers={**ids, **headers})


async def _refused(request: Request, error: ModelError) -> Response:
    if is_ui(request.url.path):
        return PlainTextResponse(error.message, error.http_status)
    return await _model_error(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    kind = _KINDS.get(status, "invalid_request")
    what = _WHAT.get(status) or str(error)
    refused = ModelError(
        kind,
        f"{what}: {request.method} {request.url.path}. Models answer at /v1/responses, "
        "/v1/chat/completions and /v1/messages.",
        status=status,
    )
    return await _model_error(request, refused)


async def _defect(request: Request, error: Exception) -> Response:
    what = f"{request.method} {path_of(request.scope)}"
    return await _model_error(request, defect_error(error, what))
