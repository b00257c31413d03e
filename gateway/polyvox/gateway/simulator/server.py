"""The simulator's HTTP routes: every protocol, a list of models, and the requests it received.

Every key except ``wrong-key`` is accepted. All responses have the header ``x-simulated: true``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from itertools import count
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from polyvox.gateway.http.hosts import HostGuard, Names
from polyvox.gateway.simulator import plan, stream, tokens
from polyvox.gateway.simulator.acting import personas, rules
from polyvox.gateway.simulator.plan import Fault, Plan
from polyvox.gateway.simulator.playback import Playback
from polyvox.gateway.simulator.record import Record
from polyvox.gateway.simulator.stream import GARBAGE, Cut
from polyvox.gateway.simulator.tally import Tally
from polyvox.protocols.client_side import Ask
from polyvox.protocols.error_status import KIND_OF_STATUS
from polyvox.protocols.table import PROTOCOLS
from polyvox.protocols.wire_protocol import (
    ROOT,
    Protocols,
    TokenCount,
    WireProtocol,
    protocol_at,
)
from polyvox.workflows.conversation import Conversation, Image, Json, ToolResult
from polyvox.workflows.errors import ErrorKind, ModelError
from polyvox.workflows.reply import Reply

WRONG_KEY = "wrong-key"
"""The one key the simulator refuses, with 401."""

KINDS: dict[int, ErrorKind] = {**KIND_OF_STATUS, 401: "authentication", 404: "model_not_found"}
"""What a status of ``errSTATUS`` means; other 4xx are invalid_request, other 5xx provider_error."""

_HEADERS = {"x-simulated": "true", "cache-control": "no-store"}
_CREATED = "2026-01-01T00:00:00Z"
_CREATED_S = 1767225600
_INDEX = f"""\
Polyvox simulator: answers by rules, without any model.

  POST /v1/chat/completions   POST /v1/responses   POST /v1/messages
  POST /v1/messages/count_tokens   GET /v1/models   GET /stats
  GET /requests   (?model=NAME: the last requests as they came, without their headers)

{plan.GRAMMAR}"""


class Simulation:
    """The state of one simulator. Setting ``closing`` cuts every open stream."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.record = Record()
        self.closing = asyncio.Event()
        self.numbers = count(1)

    async def respond(self, protocol: WireProtocol, request: Request) -> ASGIApp:
        """Return the response to ``request`` in ``protocol``.

        Raises ModelError for a request that a provider would refuse.
        """
        document, headers = await _read(request)
        ask = protocol.parser.parse(document, headers)
        if protocol.choices_wanted(ask) > 1:
            raise ModelError("unsupported", "The simulator gives one answer a request.", param="n")
        self.record.add(ask.model, request.url.path, await request.body())
        planned = plan.parse(ask.model)
        fault = planned.fault(self.tally.seen(ask.model))
        if fault and fault.kind == "err":
            return _refused(protocol, _failed(fault, planned))
        if _shows_images(ask.conversation):
            # Decoding an image would block the event loop.
            reply = await asyncio.to_thread(rules.answer, ask.conversation, planned)
        else:
            reply = rules.answer(ask.conversation, planned)
        if protocol.signs_reasoning:
            reply = rules.signed(reply, protocol.name)
        return self._playback(protocol, ask, reply, planned, fault)

    def _playback(
        self, protocol: WireProtocol, ask: Ask, reply: Reply, planned: Plan, fault: Fault | None
    ) -> ASGIApp:
        run_id = f"sim{next(self.numbers)}"
        created = int(time.time())
        headers = {**_HEADERS, "x-request-id": run_id}
        if ask.stream:
            encoder = protocol.answers.encoder(ask, run_id=run_id, created=created)
            frames = stream.play(reply, encoder, planned, fault)
            headers["content-type"] = "text/event-stream; charset=utf-8"
        else:
            if fault and fault.kind == "errevent":
                return _refused(protocol, stream.failure(fault))
            body = orjson.dumps(protocol.answers.render(ask, reply, run_id=run_id, created=created))
            frames = _whole(body, reply, planned, fault)
            headers["content-type"] = "application/json"
            headers["content-length"] = str(_promised(body, fault))
        return Playback(
            frames,
            model=ask.model,
            tally=self.tally,
            closing=self.closing,
            headers=headers,
            eager=ask.stream,
        )


async def _whole(
    body: bytes, reply: Reply, planned: Plan, fault: Fault | None
) -> AsyncIterator[bytes]:
    """Yield the body of an answer that is not streamed, or the part that a fault lets through."""
    await stream.pause(reply, planned)
    match fault:
        case Fault("stall"):
            await asyncio.Event().wait()
        case Fault("garbage"):
            yield GARBAGE
        case Fault("eof"):
            yield body[: len(body) // 2]
        case Fault("cut"):
            yield body[: len(body) // 2]
            raise Cut
        case _:
            yield body


def _promised(body: bytes, fault: Fault | None) -> int:
    """Return the content-length: that of the whole body, unless the fault ends cleanly."""
    match fault:
        case Fault("garbage"):
            return len(GARBAGE)
        case Fault("eof"):
            return len(body) // 2
        case _:
            return len(body)


async def _read(request: Request) -> tuple[Json, Mapping[str, str]]:
    headers = dict(request.headers)
    _admit(headers)
    try:
        return orjson.loads(await request.body()), headers
    except orjson.JSONDecodeError as error:
        raise ModelError("invalid_request", f"The body is not JSON: {error}.") from error


def _admit(headers: Mapping[str, str]) -> None:
    given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    if given == WRONG_KEY:
        raise ModelError("authentication", f"The simulator does not accept the key {WRONG_KEY!r}.")


def _failed(fault: Fault, planned: Plan) -> ModelError:
    kind = KINDS.get(fault.at, "invalid_request" if fault.at < 500 else "provider_error")
    return ModelError(
        kind,
        f"Simulated {fault.at}: the model name {planned.model!r} asks for it.",
        status=fault.at,
        retry_after_s=planned.retry_after_s,
    )


def _refused(protocol: WireProtocol, error: ModelError) -> Response:
    """Return ``error`` as a document of ``protocol``, with the status of the error.

    The gateway would translate the status; a provider does not.
    """
    status, document = protocol.answers.render_error(error, None)
    headers = dict(_HEADERS)
    if error.retry_after_s is not None:
        headers["retry-after"] = f"{error.retry_after_s:g}"
    return _json(document, status=error.status or status, headers=headers)


def _json(
    document: Json, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(
        orjson.dumps(document),
        status_code=status,
        headers=dict(headers or _HEADERS),
        media_type="application/json",
    )


def _shows_images(conversation: Conversation) -> bool:
    return any(
        isinstance(part, Image)
        or (isinstance(part, ToolResult) and any(isinstance(p, Image) for p in part.parts))
        for message in conversation.messages
        for part in message.parts
    )


def _model(name: str) -> dict[str, Any]:
    """Return the entry of a model with the members of both formats, OpenAI's and Anthropic's."""
    return {
        "id": name,
        "object": "model",
        "created": _CREATED_S,
        "owned_by": "polyvox-simulator",
        "type": "model",
        "display_name": f"Simulated {plan.parse(name).persona}",
        "created_at": _CREATED,
    }


async def _refuse_host(request: Request, error: ModelError) -> Response:
    return _refused(protocol_at(request.app.state.protocols, request.url.path, {}), error)


def create_simulator(host: str = "127.0.0.1", protocols: Protocols = PROTOCOLS) -> Starlette:
    """Return a new simulator of ``protocols``, an ASGI application with its own state.

    ``host`` is where it listens: a name that it accepts in the Host header.
    """
    state = Simulation()

    def asking(protocol: WireProtocol) -> Route:
        async def ask(request: Request) -> ASGIApp:
            try:
                return await state.respond(protocol, request)
            except ModelError as error:
                return _refused(protocol, error)

        return Route(protocol.route, ask, methods=["POST"])

    def counting(protocol: WireProtocol, counted: TokenCount) -> Route:
        async def count_tokens(request: Request) -> Response:
            try:
                body, headers = await _read(request)
                if isinstance(body, dict):
                    body = {**counted.defaults, **body}
                ask = protocol.parser.parse(body, headers)
            except ModelError as error:
                return _refused(protocol, error)
            return _json({"input_tokens": tokens.of_conversation(ask.conversation)})

        return Route(ROOT + counted.path, count_tokens, methods=["POST"])

    async def list_models(request: Request) -> Response:
        try:
            _admit(request.headers)
        except ModelError as error:
            return _refused(protocol_at(protocols, request.url.path, request.headers), error)
        models = [_model(name) for name in personas.NAMES]
        ends = {"first_id": personas.NAMES[0], "last_id": personas.NAMES[-1], "has_more": False}
        return _json({"object": "list", "data": models, **ends})

    async def one_model(request: Request) -> Response:
        return _json(_model(request.path_params["name"]))

    async def stats(request: Request) -> Response:
        return _json(state.tally.as_json())

    async def requests(request: Request) -> Response:
        return _json(state.record.as_json(request.query_params.get("model")))

    async def index(request: Request) -> Response:
        return Response(_INDEX, headers=_HEADERS, media_type="text/plain")

    async def no_websocket(request: Request) -> Response:
        return Response("Use POST; WebSocket is not served here.", 426, {**_HEADERS})

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/stats", stats),
            Route("/requests", requests),
            Route("/v1/models", list_models),
            Route("/v1/models/{name:path}", one_model),
            Route("/v1/responses", no_websocket, methods=["GET"]),
            *(asking(protocol) for protocol in protocols.values()),
            *(
                counting(protocol, counted)
                for protocol in protocols.values()
                if (counted := protocol.token_count) is not None
            ),
        ],
        middleware=[Middleware(HostGuard, names=Names({host}), render=_refuse_host)],
    )
    app.state.simulation = state
    app.state.protocols = protocols
    return app
