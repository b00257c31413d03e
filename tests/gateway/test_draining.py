"""A server that stops: answers that outlast ``drain_s`` end with their protocol's error."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.programs.processes import Child, running
from tests.programs.running import PATHS, PROTOCOLS

KEY = "test-key-long-enough"
ENDLESS = "simulator:main-n600-itl100"
HEADERS = {"authorization": f"Bearer {KEY}"}
STOPPING = "The server is stopping"

Answer = tuple[int, httpx.Headers, str]


def document(protocol: str, *, stream: bool) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": ENDLESS, "stream": stream}
    if protocol == "responses":
        return {**asked, "input": "hello"}
    return {**asked, "max_tokens": 1000, "messages": [{"role": "user", "content": "hello"}]}


def answer(server: Child, protocol: str, stream: bool, begun: Event) -> Answer:
    """Return the whole answer; ``begun`` is set at its first byte, or before the request."""
    if not stream:
        begun.set()
    with httpx.stream(
        "POST",
        server.base_url + PATHS[protocol],
        json=document(protocol, stream=stream),
        headers=HEADERS,
        timeout=60,
        trust_env=False,
    ) as response:
        text = ""
        for piece in response.iter_text():
            begun.set()
            text += piece
        return response.status_code, response.headers, text


def websocket(server: Child, begun: Event) -> tuple[list[dict[str, Any]], int | None]:
    """Return the events of one response over a WebSocket, and the code of its end."""
    events: list[dict[str, Any]] = []
    url = server.base_url.replace("http", "ws", 1) + PATHS["responses"]
    with connect(url, additional_headers=HEADERS, proxy=None) as connection:
        asked = document("responses", stream=True)
        connection.send(json.dumps({"type": "response.create", **asked}))
        try:
            while True:
                events.append(json.loads(connection.recv()))
                begun.set()
        except ConnectionClosed as closed:
            return events, closed.rcvd.code if closed.rcvd else None


@pytest.fixture(scope="module")
def ends(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dict[tuple[str, bool], Answer], tuple[list[dict[str, Any]], int | None]]]:
    """What each client gets from a server that is stopped in the middle of its answer."""
    folder: Path = tmp_path_factory.mktemp("draining")
    config = folder / "polyvox.toml"
    config.write_text("[server]\ndrain_s = 1.0\n", "utf-8")
    words = ("up", "--port", "0", "--data", str(folder / "data"), "--config", str(config))
    with (
        running(*words, folder=folder, environ={"POLYVOX_KEY": KEY}) as child,
        ThreadPoolExecutor(8) as pool,
    ):
        server = child.ready()
        begun = [Event() for _ in range(7)]
        answers: dict[tuple[str, bool], Future[Answer]] = {}
        for protocol in PROTOCOLS:
            for stream in (True, False):
                event = begun[len(answers)]
                answers[protocol, stream] = pool.submit(answer, server, protocol, stream, event)
        socket = pool.submit(websocket, server, begun[-1])
        assert all(event.wait(60) for event in begun)
        assert server.stop() == 0
        assert "Traceback" not in server.output.read_text("utf-8")
        yield {of: future.result() for of, future in answers.items()}, socket.result()


def test_a_stream_ends_with_its_protocol_s_error(ends: Any) -> None:
    answers, _ = ends
    chat, messages = answers["chat", True], answers["messages", True]
    *_, last = chat[2].strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "server_is_overloaded"
    *_, last = messages[2].strip().split("\n\n")
    name, _, data = last.partition("\ndata: ")
    assert (name, json.loads(data)["error"]["type"]) == ("event: error", "overloaded_error")
    assert "event: response.failed" in answers["responses", True][2]
    for protocol in PROTOCOLS:
        assert answers[protocol, True][0] == 200
        assert STOPPING in answers[protocol, True][2]


def test_a_whole_answer_is_refused_with_when_to_try_again(ends: Any) -> None:
    answers, _ = ends
    for protocol, status in (("chat", 503), ("responses", 503), ("messages", 529)):
        found, headers, text = answers[protocol, False]
        assert (found, STOPPING in text) == (status, True)
        assert int(headers["retry-after"]) >= 1


def test_a_websocket_is_closed_behind_its_answer(ends: Any) -> None:
    events, code = ends[1]
    assert events[-1]["type"] == "response.failed"
    assert STOPPING in events[-1]["response"]["error"]["message"]
    assert code == 1012
