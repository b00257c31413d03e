"""Whatever comes to whatever route is answered in time, and never as a defect of the server."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import BaseRoute, Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from polyvox.worker.engine.ports import free_port
from tests.fuzz.mutations import ENOUGH, request_texts
from tests.fuzz.requests import MODELS, Grounds, raw_requests
from tests.fuzz.wire import ANSWER_LIMIT_S, Hang, send
from tests.programs.running import ADMIN_KEY, ENVIRON, KEY, Live, live_program

# Each example is a request over a socket, many of them whole runs.
REQUESTS = settings(ENOUGH, max_examples=max(400, settings().max_examples))
MESSAGES = settings(ENOUGH, max_examples=max(40, settings().max_examples // 10))

ABNORMAL = 1011
"""The close code that a WebSocket server sends after an unexpected error (RFC 6455, 7.4.1)."""

LAST_EVENTS = (
    *("response.completed", "response.failed", "response.incomplete", "response.steer.failed"),
    "error",
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A program of its own: what is sent to it spoils its models and flows."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    dead = f"http://127.0.0.1:{free_port()}/v1"
    with live_program(folder, dead, environ) as running:
        yield running


@pytest.fixture(scope="module")
def grounds(live: Live) -> Grounds:
    """Every route the application has, and something to be found under each."""
    answer = live.post("responses", {"model": MODELS[0], "input": "hello"})
    response = answer.json()
    made = httpx.post(
        f"{live.base_url}/v1/conversations",
        json={"items": [{"type": "message", "role": "user", "content": "hello"}]},
        headers={"x-api-key": KEY},
        trust_env=False,
    ).json()
    routes = tuple(
        (method, route.path)
        for route in all_routes(live)
        if isinstance(route, Route)
        for method in sorted(route.methods or ())
    )
    known = {
        "response_id": (response["id"],),
        "run_id": (answer.headers["x-polyvox-run"], "run_"),
        "conversation_id": (made["id"],),
        "item_id": ("msg_1",),
        "name": ("fuzzed", "plain-chat", "panel-auto", "direct", "direct@1", "fusion"),
        "model": (*MODELS, "plain-chat", "fuzzed"),
    }
    authority = live.base_url.removeprefix("http://")
    return Grounds(routes, known, (KEY, ADMIN_KEY), authority)


def all_routes(live: Live) -> Iterator[BaseRoute]:
    """Yield the application's routes; those of included routers stand in the router."""
    for route in live.program.app.routes:
        router = getattr(route, "original_router", None)
        yield from (route,) if router is None else router.routes


def test_every_route_answers_every_request(
    live: Live, grounds: Grounds, caplog: pytest.LogCaptureFixture
) -> None:
    """Each gets a status below 500, or its connection is closed, and nothing is logged as error."""
    statuses: Counter[int | None] = Counter()

    @REQUESTS
    @given(data=st.data())
    def attempt(data: st.DataObject) -> None:
        request = data.draw(raw_requests(grounds))
        caplog.clear()
        answer = send(live.base_url, request)
        statuses[answer.status] += 1
        assert answer.status is None or answer.status < 500, (request, answer)
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert not errors, (request, [record.getMessage() for record in errors])

    attempt()
    print(f"Statuses: {dict(statuses.most_common())}")
    assert httpx.get(f"{live.base_url}/readyz", trust_env=False).is_success


def test_every_websocket_message_is_answered(live: Live, grounds: Grounds) -> None:
    """By events, by an error event, or by an orderly end of the connection."""
    paths = [r.path for r in all_routes(live) if isinstance(r, WebSocketRoute)]
    assert paths == ["/v1/responses"]
    url = f"ws://{grounds.authority}{paths[0]}"

    @MESSAGES
    @given(data=st.data())
    def attempt(data: st.DataObject) -> None:
        text = data.draw(request_texts("responses"))
        wrapped = data.draw(st.sampled_from((b'{"type":"response.create",', b"{", b"")))
        message = wrapped + text[1:] if wrapped else text
        with connect(url, additional_headers={"authorization": f"Bearer {KEY}"}) as socket:
            _tell(socket, message, text_frame=data.draw(st.booleans()))
            code = socket.protocol.close_code
            assert code != ABNORMAL, message

    attempt()


def _tell(socket: ClientConnection, message: bytes, *, text_frame: bool) -> None:
    """Send ``message`` and read until its answer or the connection ends. Raises Hang."""
    try:
        socket.send(message.decode("utf-8", "replace") if text_frame else message)
        while True:
            event = orjson.loads(socket.recv(timeout=ANSWER_LIMIT_S))
            if event["type"] in LAST_EVENTS:
                return
    except TimeoutError:
        raise Hang(f"{message!r}: no end of the answer within {ANSWER_LIMIT_S:g} s") from None
    except ConnectionClosed:
        return
