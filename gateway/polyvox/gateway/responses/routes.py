"""The routes of Responses: create one, and read, continue, cancel or delete stored ones."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from polyvox.activities.storage.responses import PREFIX, StoredResponse
from polyvox.gateway.generate.caller import Caller, caller_of
from polyvox.gateway.generate.joining import answering_run
from polyvox.gateway.generate.sinks import HttpAnswer
from polyvox.gateway.generate.token_count import count_tokens
from polyvox.gateway.http.admission import share_of
from polyvox.gateway.http.auth import key_of
from polyvox.gateway.http.errors import JsonResponse
from polyvox.gateway.http.request_body import read_identified
from polyvox.gateway.responses.compaction import (
    OWN_SUMMARY,
    CompactionEncoder,
    asking_for_summary,
    is_triggered,
)
from polyvox.gateway.responses.item_lists import input_items, page, query_number
from polyvox.gateway.responses.state import ResponsesState
from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses.client import request as responses
from polyvox.protocols.responses.client import response as answers
from polyvox.protocols.responses.include import included
from polyvox.protocols.responses.protocol import TOKEN_COUNT
from polyvox.protocols.responses.storing import StoreOptions, parse_store_options
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Message
from polyvox.workflows.errors import ModelError


def responses_router() -> APIRouter:
    router = APIRouter()
    path = "/v1/responses"
    router.add_route(path, create, methods=["POST"])
    router.add_route(path, refuse_get, methods=["GET"])
    router.add_route(f"{path}/input_tokens", count_input, methods=["POST"])
    router.add_route(f"{path}/compact", compact, methods=["POST"])
    router.add_route(f"{path}/{{response_id}}", retrieve, methods=["GET"])
    router.add_route(f"{path}/{{response_id}}", delete, methods=["DELETE"])
    router.add_route(f"{path}/{{response_id}}/cancel", cancel, methods=["POST"])
    router.add_route(f"{path}/{{response_id}}/input_items", list_input, methods=["GET"])
    return router


async def create(request: Request) -> Any:
    state, caller = await _admit(request)
    ask, storing, own, caller = await _asked(request, state, caller)
    run = await answering_run(_runtime(request), caller)
    if storing.background and run.is_joined:
        stored = await state.find(PREFIX + run.run_id, caller.key_id)
        return await _begun_before(state, ask, stored)
    if storing.background:
        share = share_of(request).handed_over()
        recording = await state.begin(ask, storing, caller, own, share, run.run_id)
        if not ask.stream:
            return JsonResponse(
                {**recording.document, "status": "queued"},
                headers=_headers(recording.stored.run_id),
            )
        keep_alive_s = _runtime(request).keep_alive_s
        return _as_stream(
            recording.follow(-1, keep_alive_s, included(ask)), recording.stored.run_id
        )
    if storing.store or storing.thread is not None or is_triggered(ask):
        return HttpAnswer(await state.exchange(ask, storing, caller, own, run=run))
    return HttpAnswer(run.exchange(_runtime(request), answers, ask, caller, run_id=run.run_id))


async def _begun_before(state: ResponsesState, ask: Ask, stored: StoredResponse) -> Response:
    """Answer a request that is sent again with the background response that it has started."""
    if ask.stream:
        return _as_stream(state.recordings.events(stored, -1, included(ask)), stored.run_id)
    shows = included(ask)
    return JsonResponse(
        shows.response(await state.document(stored)), headers=_headers(stored.run_id)
    )


async def _asked(
    request: Request, state: ResponsesState, caller: Caller
) -> tuple[Ask, StoreOptions, tuple[Message, ...], Caller]:
    """Return the whole request, how it is stored, its own messages at its end, and its caller."""
    share = share_of(request)
    share.take(caller.key_id)
    document, sent = await read_identified(request, caller.key_id)
    ask = await share.work(lambda: responses.parse(document, request.headers))
    storing = parse_store_options(document)
    whole, own = await state.whole(ask, storing, caller.key_id, {})
    return whole, storing, own, replace(caller, sent=sent)


async def retrieve(request: Request) -> Response:
    state, caller = await _admit(request)
    stored = await state.find(request.path_params["response_id"], caller.key_id)
    shows = await state.shows(stored, wishes(request))
    if request.query_params.get("stream") != "true":
        return JsonResponse(
            shows.response(await state.document(stored)), headers=_headers(stored.run_id)
        )
    if not (stored.background and stored.stream):
        raise ModelError(
            "invalid_request",
            f"Response {stored.response_id!r} was not created with background=true and "
            "stream=true; only those can be streamed again.",
            param="stream",
        )
    after = query_number(request.query_params, "starting_after", -1)
    return _as_stream(state.recordings.events(stored, after, shows), stored.run_id)


async def delete(request: Request) -> Response:
    state, caller = await _admit(request)
    response_id = request.path_params["response_id"]
    await state.delete(response_id, caller.key_id)
    return JsonResponse({"id": response_id, "object": "response", "deleted": True})


async def cancel(request: Request) -> Response:
    state, caller = await _admit(request)
    stored = await state.cancel(request.path_params["response_id"], caller.key_id)
    return JsonResponse((await state.shows(stored, ())).response(await state.document(stored)))


async def list_input(request: Request) -> Response:
    state, caller = await _admit(request)
    stored = await state.find(request.path_params["response_id"], caller.key_id)
    shows = await state.shows(stored, wishes(request))
    items = [shows.item(item) for item in await input_items(_runtime(request).bodies, stored)]
    return JsonResponse(page(items, request.query_params))


def wishes(request: Request) -> list[str]:
    """Return what the query asks to include, in either spelling of a list."""
    query = request.query_params
    return [*query.getlist("include[]"), *query.getlist("include")]


async def count_input(request: Request) -> Response:
    state, caller = await _admit(request)
    ask, *_ = await _asked(request, state, caller)
    return await count_tokens(
        request, ask, caller.key_id, TOKEN_COUNT, object="response.input_tokens"
    )


async def compact(request: Request) -> Any:
    state, caller = await _admit(request)
    ask, _, _, caller = await _asked(request, state, caller)
    runtime = _runtime(request)
    asked = replace(asking_for_summary(ask), stream=False)
    losses = (OWN_SUMMARY,) if state.compacts_itself(ask.model) else ()
    run = await answering_run(runtime, caller)
    encoder = CompactionEncoder(ask)
    return HttpAnswer(
        run.exchange(runtime, encoder, asked, caller, run_id=run.run_id, losses=losses)
    )


async def refuse_get(_request: Request) -> Response:
    """Refuse GET with 426: an agent that tried a WebSocket continues over HTTP at once."""
    error = {
        "message": "Use POST, or upgrade to a WebSocket. One response is at its id.",
        "type": "invalid_request_error",
        "param": None,
        "code": "upgrade_required",
    }
    return JsonResponse({"error": error}, 426, {"upgrade": "websocket"})


def _as_stream(frames: AsyncIterator[bytes], run_id: str) -> Response:
    headers = {**_headers(run_id), "cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(frames, media_type="text/event-stream", headers=headers)


def _headers(run_id: str) -> dict[str, str]:
    return {"x-polyvox-run": run_id, "x-request-id": run_id}


async def _admit(request: Request) -> tuple[ResponsesState, Caller]:
    key_id = await key_of(request)
    state: ResponsesState = request.app.state.responses
    return state, caller_of(request, key_id)


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime
