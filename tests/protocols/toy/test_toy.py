"""A fourth protocol that only the tests know goes through the whole program, both ways."""

import os
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from polyvox.protocols.sse import FrameSplitter
from polyvox.protocols.table import PROTOCOLS
from polyvox.protocols.wire_protocol import protocol_table
from polyvox.worker.engine.ports import free_port
from polyvox.workflows.events import fold
from tests.crossing.passages import as_stream, decode, split
from tests.programs.running import ENVIRON, KEY, Live, live_program
from tests.protocols.toy.protocol import TOY

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
TURNS = [{"by": "rule", "say": "Be brief."}, {"by": "user", "say": "Good morning"}]
QUESTION = {"role": "user", "content": "Good morning"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    folder = tmp_path_factory.mktemp("toy")
    dead_url = f"http://127.0.0.1:{free_port()}/v1"
    with live_program(
        folder, dead_url, environ, protocols=protocol_table(*PROTOCOLS.values(), TOY)
    ) as running:
        yield running


def post(live: Live, document: Any, key: str = KEY) -> httpx.Response:
    url, headers = live.base_url + TOY.route, {"x-api-key": key}
    return httpx.post(url, json=document, headers=headers, timeout=60, trust_env=False)


@BOTH
@pytest.mark.parametrize("over", [*PROTOCOLS, "toy"])
def test_a_toy_client_asks_a_provider_of_any_protocol(live: Live, over: str, stream: bool) -> None:
    answer = post(live, {"model": f"simulator-{over}:main", "turns": TURNS, "stream": stream})
    assert answer.status_code == 200, answer.text
    if stream:
        splitter = FrameSplitter()
        frames = [*splitter.feed(answer.content), *splitter.finish()]
        *said, end = [orjson.loads(data) for _, data in frames]
        document = {"say": "".join(piece["say"] for piece in said), **end}
    else:
        document = answer.json()
    assert document["say"].startswith("[simulated:main]")
    assert document["end"] == "stop"
    assert document["read"] > 0
    assert live.ended(answer.headers["x-polyvox-run"])["protocol"] == "toy"


@BOTH
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_client_asks_a_toy_provider(live: Live, protocol: str, stream: bool) -> None:
    said = {"input" if protocol == "responses" else "messages": [QUESTION]}
    limit = {"max_tokens": 200} if protocol == "messages" else {}
    document = {"model": "simulator-toy:main", "stream": stream, **said, **limit}
    answer = live.post(protocol, document)
    assert answer.status_code == 200, answer.text
    frames = split(answer.content) if stream else as_stream(protocol, answer.json())
    assert fold(decode(protocol, frames)).text.startswith("[simulated:main]")


def test_a_toy_provider_is_not_told_of_tools_and_the_client_learns_it(live: Live) -> None:
    tool = {"type": "function", "function": {"name": "look"}}
    document = {"model": "simulator-toy:main", "messages": [QUESTION], "tools": [tool]}
    assert live.post("chat", document).headers["x-polyvox-losses"] == "tools"


def test_a_toy_provider_s_refusal_reaches_another_client(live: Live) -> None:
    document = {"model": "simulator-toy:main-err400", "messages": [QUESTION]}
    answer = live.post("chat", document)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_every_error_on_its_path_is_a_toy_error(live: Live) -> None:
    answer = post(live, {"model": "simulator:main", "turns": TURNS}, key="no-such-key")
    assert (answer.status_code, answer.json()["kind"]) == (401, "authentication")
    assert post(live, {"model": "simulator:main"}).json()["kind"] == "invalid_request"


def test_a_toy_client_is_recognized_on_shared_paths(live: Live) -> None:
    listed = live.ask("/v1/models", **{"x-toy": "1"}).json()
    assert "plain-chat" in listed["names"]
    assert live.ask("/v1/models/plain-chat", **{"x-toy": "1"}).json() == {"name": "plain-chat"}
