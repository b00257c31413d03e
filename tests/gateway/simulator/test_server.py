"""The simulator over real HTTP: bare requests, faults, pace, and what it notices."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from polyvox.gateway.simulator.listening import Listening, serve
from polyvox.gateway.simulator.stream import GARBAGE

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Is tea good?"}]},
    "/v1/responses": {"input": "Is tea good?"},
    "/v1/messages": {
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": "Is tea good?"}],
    },
}
ENDINGS = {
    "/v1/chat/completions": "data: [DONE]",
    "/v1/responses": "event: response.completed",
    "/v1/messages": "event: message_stop",
}
LIMIT_S = 20


@pytest.fixture
async def simulator() -> AsyncIterator[Listening]:
    running = await serve()
    yield running
    await running.stop()


@pytest.fixture
async def client(simulator: Listening) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": "Bearer test-key"}
    async with httpx.AsyncClient(
        base_url=simulator.url, headers=headers, timeout=LIMIT_S
    ) as opened:
        yield opened


def _body(path: str, model: str, *, stream: bool) -> dict[str, Any]:
    return {"model": model, "stream": stream, **BODIES[path]}


async def _collect(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], got: list[bytes]
) -> None:
    async with client.stream("POST", path, json=body) as answer:
        await _drain(answer.aiter_bytes(), got)


async def _drain(pieces: AsyncIterator[bytes], got: list[bytes]) -> None:
    """Put ``pieces`` into ``got``, so that what came before an error is not lost."""
    async for piece in pieces:
        got += [piece]


async def _stats_until(client: httpx.AsyncClient, model: str) -> dict[str, Any]:
    """Return the simulator's figures once it has noticed that a client of ``model`` left."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            stats: dict[str, Any] = (await client.get("/stats")).json()
            if stats["disconnects"].get(model):
                return stats


@pytest.mark.parametrize("path", BODIES)
async def test_a_stream_ends_as_its_protocol_ends(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json=_body(path, "main", stream=True))
    assert answer.headers["x-simulated"] == "true"
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert ENDINGS[path] in answer.text
    assert answer.text.endswith("\n\n")


@pytest.mark.parametrize("path", BODIES)
async def test_a_whole_answer_is_one_labelled_document(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.post(path, json=_body(path, "skeptic", stream=False))
    assert answer.status_code == 200
    assert answer.headers["x-simulated"] == "true"
    assert "[simulated:skeptic] " in answer.text


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_status_fault_has_status_error_document_and_retry_after(
    client: httpx.AsyncClient, path: str, stream: bool
) -> None:
    answer = await client.post(path, json=_body(path, "main-err429-ra2", stream=stream))
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "2"
    assert "Simulated 429" in answer.json()["error"]["message"]


async def test_a_numbered_fault_lets_later_requests_pass(client: httpx.AsyncClient) -> None:
    """The count belongs to the very name: another id starts again."""
    path = "/v1/messages"
    statuses = [
        (await client.post(path, json=_body(path, model, stream=False))).status_code
        for model in ("main-err500x2-id1",) * 3 + ("main-err500x2-id2",)
    ]
    assert statuses == [500, 500, 200, 500]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_answer_is_a_broken_body(
    client: httpx.AsyncClient, path: str, stream: bool
) -> None:
    """The client's HTTP library must see that the body is not whole."""
    got: list[bytes] = []
    with pytest.raises(httpx.RemoteProtocolError):
        await _collect(client, path, _body(path, "main-cut5", stream=stream), got)
    assert got
    assert ENDINGS[path].encode() not in b"".join(got)
    assert (await client.get("/stats")).json()["disconnects"] == {}


@pytest.mark.parametrize("path", BODIES)
async def test_an_early_end_is_clean_but_not_the_protocol_s(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.post(path, json=_body(path, "main-eof4", stream=True))
    assert "simulated" in answer.text
    assert ENDINGS[path] not in answer.text


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [True, False])
async def test_garbage_is_sent_as_it_is(client: httpx.AsyncClient, path: str, stream: bool) -> None:
    answer = await client.post(path, json=_body(path, "main-garbage2", stream=stream))
    assert answer.content.endswith(GARBAGE)


@pytest.mark.parametrize("path", BODIES)
async def test_an_error_event_ends_the_stream_without_success(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.post(path, json=_body(path, "main-errevent3", stream=True))
    assert answer.status_code == 200
    assert "Simulated error after 3 deltas" in answer.text
    assert ENDINGS[path] not in answer.text.replace(ENDINGS["/v1/chat/completions"], "", 1)


@pytest.mark.parametrize("path", BODIES)
async def test_a_stall_ends_when_the_client_goes(client: httpx.AsyncClient, path: str) -> None:
    """The simulator sees a closed socket and says so."""
    model = "main-stall3"
    async with client.stream("POST", path, json=_body(path, model, stream=True)) as answer:
        got = b""
        async for piece in answer.aiter_bytes():
            got += piece
            if b"main" in got and b"simulated" in got:
                break
        assert (await client.get("/stats")).json()["open_streams"] == 1
    stats = await _stats_until(client, model)
    assert stats["disconnects"] == {model: 1}
    assert stats["open_streams"] == 0
    assert stats["requests"] == {model: 1}
    assert stats["bytes_sent"] >= len(got)


async def test_a_stopping_simulator_cuts_what_still_plays(client: httpx.AsyncClient) -> None:
    """No stall keeps the program from ending."""
    running = await serve()
    path = "/v1/messages"
    url = f"{running.url}{path}"
    async with client.stream("POST", url, json=_body(path, "a-stall1", stream=True)) as answer:
        pieces = answer.aiter_bytes()
        assert await anext(pieces)
        stopping = asyncio.create_task(running.stop())
        with pytest.raises(httpx.RemoteProtocolError):
            await _drain(pieces, [])
    await stopping


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_only_the_wrong_key_is_refused(
    client: httpx.AsyncClient, path: str, header: str
) -> None:
    value = "Bearer wrong-key" if header == "authorization" else "wrong-key"
    answer = await client.post(path, json=_body(path, "main", stream=True), headers={header: value})
    assert answer.status_code == 401
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model": 7}'])
async def test_a_malformed_request_is_a_400_of_the_protocol(
    client: httpx.AsyncClient, path: str, content: bytes
) -> None:
    answer = await client.post(path, content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


async def test_tokens_are_counted_as_the_answer_s_usage_counts_them(
    client: httpx.AsyncClient,
) -> None:
    body = _body("/v1/messages", "main", stream=False)
    answer = await client.post("/v1/messages", json=body)
    asked = {key: body[key] for key in ("model", "messages")}
    counted = await client.post("/v1/messages/count_tokens", json=asked)
    assert counted.json() == {"input_tokens": answer.json()["usage"]["input_tokens"]}


async def test_models_are_listed_with_names_that_say_simulated(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models?limit=1000")).json()["data"]
    assert {"main", "skeptic", "judge"} <= {model["id"] for model in listed}
    assert all(model["display_name"].startswith("Simulated ") for model in listed)
    assert (await client.get("/v1/models/main-n7")).json()["id"] == "main-n7"


async def test_the_root_says_what_it_is_and_web_sockets_are_refused_at_once(
    client: httpx.AsyncClient,
) -> None:
    assert "without any model" in (await client.get("/")).text
    assert (await client.head("/")).status_code == 200
    assert (await client.get("/v1/responses")).status_code == 426


async def test_an_address_in_use_is_an_error_of_the_caller(simulator: Listening) -> None:
    with pytest.raises(OSError, match="in use"):
        await serve(port=simulator.port)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_whose_parameters_are_not_a_schema_is_a_400(
    client: httpx.AsyncClient, stream: bool
) -> None:
    """As at a provider, also where only the answer would need the schema."""
    function = {"name": "get_file", "parameters": {"type": "object", "properties": True}}
    body = {
        "model": "main",
        "stream": stream,
        "messages": [{"role": "user", "content": "Use the get_file tool now."}],
        "tools": [{"type": "function", "function": function}],
    }
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert "not a valid JSON Schema" in answer.json()["error"]["message"]


@pytest.mark.parametrize("properties", [None, True, 3, ["answer"], "answer"])
async def test_a_format_whose_schema_is_not_a_schema_is_a_400(
    client: httpx.AsyncClient, properties: Any
) -> None:
    """Nothing reads a client's schema before it was checked."""
    schema = {"type": "object", "properties": properties, "required": ["answer"]}
    format_ = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    body = {
        "model": "main",
        "messages": [{"role": "user", "content": "Give me facts about Berlin."}],
        "response_format": format_,
    }
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert "not a valid JSON Schema" in answer.json()["error"]["message"]
