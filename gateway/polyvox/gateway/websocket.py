"""Responses over a WebSocket: one connection, one response after the other.

Each message ``response.create`` is a request as POST takes it, each event of its stream is a text
message. What the connection gains is memory: a response can be gone on from with only the new
items, also with ``store: false``, as long as the connection lasts. ``generate: false`` prepares
such a response without asking a model. One with an error that has no response yet is an event
``error`` with the ``status`` and the ``headers`` it would have had over HTTP: an agent looks there
for ``retry-after``.
"""

import asyncio
from collections import OrderedDict

import orjson
from fastapi import APIRouter
from starlette.responses import Response
from starlette.types import Message as AsgiMessage
from starlette.websockets import WebSocket, WebSocketDisconnect

from polyvox.gateway.auth import authenticate
from polyvox.gateway.background import split_frames
from polyvox.gateway.errors import Headers, retry_headers
from polyvox.gateway.exchange import Caller
from polyvox.gateway.protocols import responses
from polyvox.gateway.protocols.front import Ask
from polyvox.gateway.protocols.responses_included import included
from polyvox.gateway.protocols.responses_keeping import Keeping, parse_keeping
from polyvox.gateway.responses_routes import own_messages
from polyvox.gateway.responses_state import ResponsesState
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Json, Message
from polyvox.workflows.errors import ModelError
from polyvox.workflows.session import seen_headers
from polyvox.workflows.wire import responses as wire

PATH = "/v1/responses"

_REMEMBERED = 8
"""Responses of one connection that can be gone on from; the older ones only if they are stored."""

_WAITING = 16
"""Requests that wait for their turn; a client that sends more is not read until one is done."""

_OF_THE_CONNECTION = ("type", "generate", "stream_id")
"""Members of ``response.create`` that are no fields of a request."""

_NOT_ENDED = ("failed", "cancelled", "in_progress")


def websocket_router() -> APIRouter:
    router = APIRouter()
    router.add_websocket_route(PATH, connect)
    return router


async def connect(websocket: WebSocket) -> None:
    """Serve one connection until its client leaves."""
    runtime: Runtime = websocket.app.state.runtime
    try:
        key_id = await authenticate(websocket.headers, runtime.ledger)
    except ModelError as error:
        status, document = responses.render_error(error, None)
        body = orjson.dumps(document)
        await websocket.send_denial_response(
            Response(body, status_code=status, media_type="application/json")
        )
        return
    await websocket.accept()
    caller = Caller(key_id, websocket.headers.get("traceparent"), seen_headers(websocket.headers))
    await Connection(websocket, websocket.app.state.responses, caller).serve()


class Connection:
    """One client's connection. Its requests are answered in the order they come in."""

    def __init__(self, websocket: WebSocket, state: ResponsesState, caller: Caller) -> None:
        self._websocket = websocket
        self._state = state
        self._caller = caller
        self._requests: asyncio.Queue[str | bytes | None] = asyncio.Queue(_WAITING)
        self._left = asyncio.Event()
        self._near: OrderedDict[str, tuple[Message, ...]] = OrderedDict()
        self._lane = b""

    async def serve(self) -> None:
        reading = asyncio.create_task(self._read())
        try:
            while (request := await self._requests.get()) is not None:
                await self._answer(request)
        except (OSError, WebSocketDisconnect):
            return
        finally:
            reading.cancel()

    async def _read(self) -> None:
        """Read along while an answer is made: a client that leaves ends it."""
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            await self._requests.put(text if text is not None else message["bytes"])
        self._left.set()
        await self._requests.put(None)

    async def _answer(self, request: str | bytes) -> None:
        self._lane = b""
        try:
            event = _parse_event(request)
            if lane := event.get("stream_id"):
                self._lane = b'"stream_id":' + orjson.dumps(lane) + b","
            if event["type"] == "response.steer":
                await self._refuse_steering(event)
            else:
                await self._create(event)
        except ModelError as error:
            status, document = responses.render_error(error, None)
            await self.send_error(status, document["error"], retry_headers(error, status))

    async def _create(self, event: dict[str, Json]) -> None:
        document = {k: v for k, v in event.items() if k not in _OF_THE_CONNECTION}
        document["stream"] = True
        ask = responses.parse(document, self._websocket.headers)
        keeping = parse_keeping(document)
        whole = await self._state.whole(ask, keeping, self._caller.key_id, self._near)
        own = own_messages(ask, whole)
        if event.get("generate") is False:
            remember = _Remember(self._near, whole)
            prepared = await self._state.prepare(whole, keeping, self._caller, remember)
            await self.send_frames(prepared)
        elif keeping.background:
            await self._follow(whole, keeping, own)
        else:
            remember = _Remember(self._near, whole)
            exchange = await self._state.exchange(whole, keeping, self._caller, own, remember)
            await exchange(dict(_SCOPE), self._receive, _Sending(self).send)

    async def _follow(self, whole: Ask, keeping: Keeping, own: tuple[Message, ...]) -> None:
        recording = await self._state.begin(whole, keeping, self._caller, own, _SCOPE)
        async for frames in recording.follow(-1, _LONG_S, included(whole)):
            await self.send_frames(frames)

    async def _receive(self) -> AsgiMessage:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send_frames(self, frames: bytes) -> None:
        """Send the events of whole frames, each as a message of its own."""
        for frame in split_frames(frames):
            _, found, data = frame.partition(b"\ndata: ")
            if found:  # neither a comment nor the end mark, which has no name
                await self._send(data[:-2])

    async def _send(self, data: bytes) -> None:
        text = b"{" + self._lane + data[1:] if self._lane else data
        await self._websocket.send_text(text.decode())

    async def send_error(self, status: int, error: dict[str, Json], headers: Headers) -> None:
        """Send why there is no response."""
        flat = {name: error[name] for name in ("code", "message", "param")}
        told = {"type": "error", "sequence_number": 0, "status": status, **flat, "error": error}
        shown = {name.decode(): value.decode() for name, value in headers}
        await self._send(orjson.dumps({**told, "headers": shown}))

    async def _refuse_steering(self, event: dict[str, Json]) -> None:
        steer = {name: event.get(name) for name in ("previous_response_id", "input")}
        error = {
            "type": "invalid_request_error",
            "code": "steering_not_supported",
            "message": "A running response takes no further input. Send it with the next one.",
        }
        told = {"type": "response.steer.failed", "sequence_number": 0}
        await self._send(orjson.dumps({**told, "error": error, "steer": steer}))


_SCOPE = {"method": "GET", "path": PATH}

_LONG_S = 3600.0
"""The connection is kept alive by pings of its own."""


class _Remember:
    """Takes note of how a response ended, for the next request on the connection."""

    def __init__(self, near: OrderedDict[str, tuple[Message, ...]], whole: Ask) -> None:
        self._near = near
        self._whole = whole

    def __call__(self, document: dict[str, Json]) -> None:
        if document["status"] in _NOT_ENDED:
            return
        said = tuple(wire.parse_message(item) for item in document["output"])
        self._near[document["id"]] = self._whole.conversation.messages + said
        while len(self._near) > _REMEMBERED:
            self._near.popitem(last=False)


class _Sending:
    """An exchange's way to the client: its stream as events, its refusal as an error event."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._status = 200
        self._headers: Headers = []

    async def send(self, message: AsgiMessage) -> None:
        try:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                self._headers = [
                    header for header in message["headers"] if not header[0].startswith(b"content-")
                ]
            elif self._status == 200:
                await self._connection.send_frames(message["body"])
            else:
                document = orjson.loads(message["body"])
                await self._connection.send_error(self._status, document["error"], self._headers)
        except WebSocketDisconnect as gone:
            raise OSError("The client has closed the WebSocket.") from gone


def _parse_event(request: str | bytes) -> dict[str, Json]:
    try:
        event = orjson.loads(request)
    except orjson.JSONDecodeError as error:
        raise ModelError("invalid_request", f"The message is not valid JSON: {error}.") from None
    kind = event.get("type") if isinstance(event, dict) else None
    if kind not in ("response.create", "response.steer"):
        raise ModelError(
            "invalid_request",
            f"A message must be an object of type 'response.create', not {kind!r}.",
            param="type",
        )
    return dict(event)
