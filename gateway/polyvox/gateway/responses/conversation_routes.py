"""The routes of stored conversations, which requests of Responses can refer to."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from polyvox.activities.storage.threads import Thread, new_thread
from polyvox.gateway.http.auth import key_of
from polyvox.gateway.http.errors import JsonResponse
from polyvox.gateway.http.request_body import read_document
from polyvox.gateway.responses.item_lists import item_list, listed_item, page
from polyvox.gateway.responses.routes import wishes
from polyvox.protocols.responses import elements as wire
from polyvox.protocols.responses.include import Included
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Json, Message
from polyvox.workflows.errors import ModelError

_LONGEST_ADDITION = 20
"""Items in one request, as in the API of OpenAI."""


def conversations_router() -> APIRouter:
    router = APIRouter()
    path = "/v1/conversations"
    one = f"{path}/{{conversation_id}}"
    router.add_route(path, create, methods=["POST"])
    router.add_route(one, retrieve, methods=["GET"])
    router.add_route(one, update, methods=["POST"])
    router.add_route(one, delete, methods=["DELETE"])
    router.add_route(f"{one}/items", list_items, methods=["GET"])
    router.add_route(f"{one}/items", add_items, methods=["POST"])
    router.add_route(f"{one}/items/{{item_id}}", retrieve_item, methods=["GET"])
    router.add_route(f"{one}/items/{{item_id}}", delete_item, methods=["DELETE"])
    return router


async def create(request: Request) -> Response:
    runtime, key_id = await _admit(request)
    document = await read_document(request)
    thread = new_thread(_items(document), _metadata(document))
    await runtime.conversations.create(thread, key_id)
    return JsonResponse(_rendered(thread))


async def retrieve(request: Request) -> Response:
    thread = await _found(request)
    return JsonResponse(_rendered(thread))


async def update(request: Request) -> Response:
    await _found(request)
    metadata = _metadata(await read_document(request))
    return JsonResponse(_rendered(await _changed(request, lambda now: now.labelled(metadata))))


async def delete(request: Request) -> Response:
    runtime, key_id = await _admit(request)
    conversation_id = request.path_params["conversation_id"]
    await runtime.conversations.remove(conversation_id, key_id)
    return JsonResponse({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


async def list_items(request: Request) -> Response:
    thread = await _found(request)
    shows = Included(wishes(request))
    items = [shows.item(item) for item in _listed(thread)]
    return JsonResponse(page(items, request.query_params))


async def add_items(request: Request) -> Response:
    await _found(request)
    added = _items(await read_document(request))
    longer = await _changed(request, lambda now: now.adding(added))
    return JsonResponse(item_list(_listed(longer)[len(longer.messages) - len(added) :]))


async def retrieve_item(request: Request) -> Response:
    thread = await _found(request)
    item_id = request.path_params["item_id"]
    thread.without(item_id)
    return JsonResponse(_listed(thread)[thread.item_ids.index(item_id)])


async def delete_item(request: Request) -> Response:
    item_id = request.path_params["item_id"]
    return JsonResponse(_rendered(await _changed(request, lambda now: now.without(item_id))))


def _rendered(thread: Thread) -> dict[str, Json]:
    return {
        "id": thread.conversation_id,
        "object": "conversation",
        "created_at": thread.created,
        "metadata": dict(thread.metadata),
    }


def _listed(thread: Thread) -> list[dict[str, Any]]:
    named = zip(thread.messages, thread.item_ids, strict=True)
    return [listed_item(message, item_id) for message, item_id in named]


def _items(document: dict[str, Json]) -> list[Message]:
    items = document.get("items") or []
    if not isinstance(items, list) or len(items) > _LONGEST_ADDITION:
        raise ModelError(
            "invalid_request",
            f"'items' must be a list of at most {_LONGEST_ADDITION} items.",
            param="items",
        )
    return [wire.parse_message(item) for item in items]


def _metadata(document: dict[str, Json]) -> dict[str, Json]:
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise ModelError("invalid_request", "'metadata' must be an object.", param="metadata")
    return metadata


async def _admit(request: Request) -> tuple[Runtime, str]:
    runtime: Runtime = request.app.state.runtime
    return runtime, await key_of(request)


async def _found(request: Request) -> Thread:
    runtime, key_id = await _admit(request)
    return await runtime.conversations.find(request.path_params["conversation_id"], key_id)


async def _changed(request: Request, edit: Callable[[Thread], Thread]) -> Thread:
    runtime, key_id = await _admit(request)
    conversation_id = request.path_params["conversation_id"]
    return await runtime.conversations.change(conversation_id, key_id, edit)
