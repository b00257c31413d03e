"""Responses over a WebSocket: one connection, one response after the other.

Each message ``response.create`` is a request as POST takes it, each event of its stream is a text
message. As long as the connection lasts, a response can be continued with only the new items, even
with ``store: false``. ``generate: false`` prepares such a response without a call of a model. A
continuation that fails makes the connection forget the response it continued, as OpenAI does
(developers.openai.com/api/docs/guides/websocket-mode, November 2026): the client sends the whole
conversation again. An ``error`` event has the ``status`` that the error would have over HTTP; one
before the response exists has the ``headers`` too, where agents look for ``retry-after``.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import partial

import orjson
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from polyvox.activities.live.channel import RunOutcome
from polyvox.gateway.generate.caller import caller_of
from polyvox.gateway.generate.sinks import Sink
from polyvox.gateway.http.admission import LARGE_BYTES, Share, share_of
from polyvox.gateway.http.auth import key_of
from polyvox.gateway.http.errors import (
    Headers,
    JsonResponse,
    error_for,
    is_codex,
    retry_headers,
)
from polyvox.gateway.http.request_body import parse_document
from polyvox.gateway.http.request_log import RequestFacts, facts_of, write_line
from polyvox.gateway.responses.background import split_frames
from polyvox.gateway.responses.state import ResponsesState
from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses import elements as wire
from polyvox.protocols.responses.client import request as responses
from polyvox.protocols.responses.client import response as answers
from polyvox.protocols.responses.include import included
from polyvox.protocols.responses.storing import StoreOptions, parse_store_options
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Json, Message
from polyvox.workflows.errors import ModelError

PATH = "/v1/responses"

_METHOD = "WEBSOCKET"
"""Stands for the method in the log."""

_REMEMBERED = 8
"""Responses of one connection that can be continued; older ones only if they are stored."""

_MOST_WAITING = 64
"""Requests that wait for their turn. A client that sends more is cut off: if it were not read from
instead, its disconnection would go unnoticed."""

_REMEMBERED_BYTES = 32 * 1024 * 1024
"""Of the requests that led to the remembered responses; the newest is always remembered."""

_OF_THE_CONNECTION = ("type", "generate", "stream_id")
"""Members of ``response.create`` that are not fields of a request."""

_NOT_ENDED = ("failed", "cancelled", "in_progress")


def websocket_router() -> APIRouter:
    router = APIRouter()
    router.add_websocket_route(PATH, connect)
    return router


async def connect(websocket: WebSocket) -> None:
    """Serve one connection until its client disconnects."""
    runtime: Runtime = websocket.app.state.runtime
    try:
        key_id = await key_of(websocket)
    except ModelError as error:
        status, document = answers.render_error(error, None)
        # At a 426 Codex goes on over HTTP at once, where it gets the message; it repeats others.
        status = 426 if is_codex(websocket.headers) else status
        facts = facts_of(websocket)
        facts.fail(error)
        write_line(_METHOD, PATH, status, time.perf_counter(), facts)
        await websocket.send_denial_response(JsonResponse(document, status))
        return
    with contextlib.suppress(OSError, WebSocketDisconnect):  # the client may have disconnected
        await websocket.accept()
        await Connection(websocket, runtime, key_id).serve()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message as it arrived, or why it is refused; ``share`` counts its bytes."""

    text: str | bytes
    share: Share
    refused: ModelError | None = None


class _Leaving(Exception):
    """The server is to close the connection."""


class Connection(Sink):
    """One client's connection and the sink of its answers, in the order of the requests.

    A message has no headers, and every answer is streamed.
    """

    def __init__(self, websocket: WebSocket, runtime: Runtime, key_id: str) -> None:
        self._websocket = websocket
        self._runtime = runtime
        self._state: ResponsesState = websocket.app.state.responses
        self._caller = caller_of(websocket, key_id)
        self._requests: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._most_bytes = runtime.settings.server.max_body_mib * 1024 * 1024
        self._waiting_bytes = 0
        self._left = asyncio.Event()
        self._recent = _Recent()
        self._stream_id = b""
        self._status = 200
        self._stopping = False

    async def serve(self) -> None:
        reading = asyncio.create_task(self._read())
        on_stop = self._caller.places.on_stop
        on_stop.add(self._stop)
        try:
            while (waiting := await self._requests.get()) and not self._left.is_set():
                self._waiting_bytes -= len(waiting.text)
                try:
                    await self._answer(waiting)
                finally:
                    waiting.share.release()
                if self._stopping:
                    break
            if self._stopping and not self._left.is_set():
                await self._websocket.close(_SERVICE_RESTART)
        except _Leaving:
            await self._websocket.close(_POLICY_VIOLATION)
        finally:
            on_stop.discard(self._stop)
            reading.cancel()
            while not self._requests.empty():
                if (waiting := self._requests.get_nowait()) is not None:
                    waiting.share.release()

    def _stop(self) -> None:
        """Close the connection behind the current answer, now if there is none."""
        self._stopping = True
        self._requests.put_nowait(None)

    async def _read(self) -> None:
        """Read on while an answer is made, which a client that disconnects ends."""
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            text: str | bytes | None = message.get("text")
            if text is None:
                text = message["bytes"]
            if (
                self._requests.qsize() >= _MOST_WAITING
                or self._waiting_bytes + len(text) > self._most_bytes
            ):
                self._left.set()
                await self._websocket.close(_POLICY_VIOLATION, "Too many requests are waiting.")
                break
            waiting = self._admitted(text)
            self._waiting_bytes += len(waiting.text)
            self._requests.put_nowait(waiting)
        self._left.set()
        self._requests.put_nowait(None)

    def _admitted(self, text: str | bytes) -> _Waiting:
        share = share_of(self._websocket).another(self._caller.key_id)
        try:
            if len(text) > LARGE_BYTES:
                share.hold(len(text))
        except ModelError as error:
            return _Waiting("", share, error)
        return _Waiting(text, share)

    async def _answer(self, waiting: _Waiting) -> None:
        """Answer one request and log it, as requests over HTTP are."""
        started, self._status = time.perf_counter(), 200
        facts = RequestFacts(key=self._caller.facts.key)
        self._caller = replace(self._caller, facts=facts)
        try:
            await self._answer_or_refuse(waiting)
        finally:
            write_line(_METHOD, PATH, self._status, started, facts)

    async def _answer_or_refuse(self, waiting: _Waiting) -> None:
        self._stream_id = b""
        event: dict[str, Json] = {}
        try:
            # The key may have been revoked since the connection was made.
            await self._authenticate()
            waiting.share.take(self._caller.key_id)
            if waiting.refused is not None:
                raise waiting.refused
            event = await waiting.share.work(lambda: _parse_event(waiting.text))
            if stream_id := event.get("stream_id"):
                self._stream_id = b'"stream_id":' + orjson.dumps(stream_id) + b","
            if event["type"] == "response.steer":
                await self._refuse_steering(event)
            else:
                await self._create(event, waiting.share, len(waiting.text))
        except ModelError as error:
            with contextlib.suppress(ModelError):
                event = event or _parse_event(waiting.text)
            self._recent.forget(event.get("previous_response_id"))
            await self._refuse(error)

    async def _authenticate(self) -> None:
        try:
            await key_of(self._websocket)
        except ModelError as error:
            await self._refuse(error)
            raise _Leaving from error

    async def _refuse(self, error: ModelError) -> None:
        self._caller.facts.fail(error)
        error = error_for(error, self._websocket.headers)
        status, document = answers.render_error(error, None)
        await self.refuse(error, status, document, retry_headers(error, status))

    async def _create(self, event: dict[str, Json], share: Share, size: int) -> None:
        document = {k: v for k, v in event.items() if k not in _OF_THE_CONNECTION}
        document["stream"] = True
        ask = await share.work(lambda: responses.parse(document, self._websocket.headers))
        storing = parse_store_options(document)
        whole, own = await self._state.whole(
            ask, storing, self._caller.key_id, self._recent.conversations
        )
        remember = partial(self._recent.remember, whole, size)
        if event.get("generate") is False:
            prepared = await self._state.prepare(whole, storing, self._caller, remember)
            await self.frames([prepared])
            return
        if storing.background:
            ended_well = await self._follow(whole, storing, own, share)
        else:
            self._recent.newest = None
            exchange = await self._state.exchange(whole, storing, self._caller, own, remember)
            await exchange.answer(self)
            ended_well = self._recent.newest is not None
        if not ended_well:
            self._recent.forget(storing.previous)

    async def _follow(
        self, whole: Ask, storing: StoreOptions, own: tuple[Message, ...], share: Share
    ) -> bool:
        """Send the stream of a background response; return whether it ended well."""
        recording = await self._state.begin(whole, storing, self._caller, own, share.handed_over())
        async for frames in recording.follow(-1, _LONG_S, included(whole)):
            await self.frames([frames])
        return recording.document["status"] not in _NOT_ENDED

    async def left(self) -> None:
        """Return when the client has disconnected."""
        await self._left.wait()

    async def frames(self, frames: list[bytes]) -> None:
        """Send each event as a message."""
        for frame in split_frames(b"".join(frames)):
            _, found, data = frame.partition(b"\ndata: ")
            if found:  # neither a comment nor the end mark, which has no name
                await self._send(data[:-2])

    async def finish(self, outcome: RunOutcome, frames: list[bytes]) -> None:
        await self.frames(frames)

    async def _send(self, data: bytes) -> None:
        if self._left.is_set():
            raise OSError("The client has left.")
        text = b"{" + self._stream_id + data[1:] if self._stream_id else data
        try:
            await self._websocket.send_text(text.decode())
        except WebSocketDisconnect as gone:
            raise OSError("The client has closed the WebSocket.") from gone

    async def refuse(
        self, error: ModelError, status: int, document: dict[str, Json], headers: Headers
    ) -> None:
        """Send an error event."""
        self._status = status
        inner = document["error"]
        event = {
            "type": "error",
            "sequence_number": 0,
            "status": status,
            **{name: inner[name] for name in ("code", "message", "param")},
            "error": inner,
            "headers": {name.decode(): value.decode() for name, value in headers},
        }
        await self._send(orjson.dumps(event))

    async def _refuse_steering(self, event: dict[str, Json]) -> None:
        steer = {name: event.get(name) for name in ("previous_response_id", "input")}
        error = {
            "type": "invalid_request_error",
            "code": "steering_not_supported",
            "message": "A running response takes no further input. Send it with the next one.",
        }
        failed = {"type": "response.steer.failed", "sequence_number": 0}
        await self._send(orjson.dumps({**failed, "error": error, "steer": steer}))


_POLICY_VIOLATION = 1008
_SERVICE_RESTART = 1012

_LONG_S = 3600.0
"""Longer than any run: pings keep the connection alive."""


@dataclass(slots=True)
class _Recent:
    """The newest responses of a connection: the conversation up to each, and its request's size.

    ``newest`` is the id of the last response that ended well.
    """

    newest: str | None = None
    conversations: OrderedDict[str, tuple[Message, ...]] = field(default_factory=OrderedDict)
    sizes: dict[str, int] = field(default_factory=dict)

    def remember(self, whole: Ask, size: int, document: dict[str, Json]) -> None:
        """Store the response ``document`` to ``whole``, if it has ended well."""
        if document["status"] in _NOT_ENDED:
            return
        output = tuple(wire.parse_message(item) for item in document["output"])
        self.conversations[document["id"]] = whole.conversation.messages + output
        self.sizes[document["id"]] = size
        self.newest = document["id"]
        while len(self.conversations) > 1 and (
            len(self.conversations) > _REMEMBERED or sum(self.sizes.values()) > _REMEMBERED_BYTES
        ):
            oldest, _ = self.conversations.popitem(last=False)
            del self.sizes[oldest]

    def forget(self, response_id: Json) -> None:
        """Forget a response, if ``response_id`` is the id of a remembered one."""
        if isinstance(response_id, str) and response_id in self.conversations:
            del self.conversations[response_id], self.sizes[response_id]


def _parse_event(request: str | bytes) -> dict[str, Json]:
    event = parse_document(request, "message", "type")
    kind = event.get("type")
    if kind not in ("response.create", "response.steer"):
        raise ModelError(
            "invalid_request",
            f"A message must be an object of type 'response.create', not {kind!r}.",
            param="type",
        )
    return event
