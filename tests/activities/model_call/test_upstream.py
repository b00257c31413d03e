"""Answers of an upstream in every form that servers give them, over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from aiohttp import web

from polyvox.activities.model_call.provider import Provider
from polyvox.activities.model_call.redaction import Secrets
from polyvox.activities.model_call.upstream import Answer, Upstream
from polyvox.protocols.chat.provider import request as chat
from polyvox.workflows.conversation import Conversation, user
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, fold
from polyvox.workflows.reply import Reply, Usage

MOST_BYTES = 1024 * 1024
KEY = "the-servers-secret-key"


@asynccontextmanager
async def answering(respond: Callable[[web.Request], Any]) -> AsyncIterator[Provider]:
    """Serve every request with ``respond``."""
    app = web.Application()
    app.router.add_post("/{any:.*}", respond)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield Provider("p", "chat", url, api_key_env="KEY", timeout_s=30)
    finally:
        await runner.cleanup()


async def asked(
    respond: Callable[[web.Request], Any], read: Callable[[Answer], Any], key: str = ""
) -> Any:
    """Return what ``read`` makes of the answer that ``respond`` gives."""
    async with answering(respond) as provider:
        return await asked_of(provider, read, {"KEY": key} if key else {})


async def asked_of(
    provider: Provider,
    read: Callable[[Answer], Any],
    environ: Mapping[str, str] = MappingProxyType({}),
    authorization: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Return what ``read`` makes of the answer of ``provider``."""
    request = chat.render(Conversation((user("hi"),)), "m")
    upstream = Upstream(Secrets({"p": provider}, environ))
    try:
        async with upstream.post(provider, request, authorization) as answer:
            return await read(answer)
    finally:
        await upstream.close()


async def replied(answer: Answer) -> Reply:
    decoder, events = chat.decoder(), list[Event]()
    async for frames in answer.frames(decoder, chat.parse_error, MOST_BYTES):
        for name, data in frames:
            events += decoder.feed(name, data)
    return fold(events + decoder.finish())


def whole(**answer: Any) -> Callable[[web.Request], Any]:
    """Respond with one whole body."""

    async def respond(_request: web.Request) -> web.Response:
        return web.json_response(**answer) if "data" in answer else web.Response(**answer)

    return respond


def streaming(*pieces: bytes, kind: str = "text/event-stream", then: str) -> Any:
    """Respond with ``pieces`` in an unterminated body, and ``then`` break it or leave it open."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": kind})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if then == "break":
            assert request.transport is not None
            request.transport.close()
        elif then == "stay":
            await asyncio.Event().wait()
        return response

    return respond


def sse(*chunks: Any) -> bytes:
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks)


TEXT = {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
COUNTED = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
DONE = b"data: [DONE]\n\n"
MESSAGE = {"role": "assistant", "content": "Hi"}
DOCUMENT = {
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}

OLLAMA = (
    '{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"H"},'
    '"done":false}\n{"model":"m","created_at":"2026-01-01T00:00:00Z","done":true}\n'
)
GEMINI = '[{"candidates": [{"content": {"parts": [{"text": "H"}]}}]}\n,\r\n{"candidates": []}]'


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        ({"data": {"error": {"message": "no credits", "code": 402}}}, "billing", "no credits"),
        ({"data": {"error": {"message": "slow down", "code": 429}}}, "rate_limit", "slow down"),
        ({"data": {"error": {"message": "slow down", "code": "429"}}}, "rate_limit", "slow down"),
        ({"data": {"error": {"message": "Prompt too long"}}}, "context_length", "Prompt too long"),
        ({"data": {"error": {"message": "broken"}}}, "provider_error", "broken"),
        ({"data": {"error": "broken"}}, "provider_error", "broken"),
        ({"data": [{"error": {"message": "slow", "code": 429}}]}, "rate_limit", "slow"),
        ({"data": {"object": "error", "message": "no", "code": 400}}, "invalid_request", "no"),
        ({"data": {"detail": "broken"}}, "provider_error", "broken"),
        ({"data": {"choices": []}}, "bad_stream", "application/json"),
        ({"data": {"input_tokens": 3}}, "bad_stream", "base_url and protocol"),
        ({"data": "Hi"}, "bad_stream", "base_url and protocol"),
        ({"text": OLLAMA, "content_type": "application/x-ndjson"}, "bad_stream", "Ollama's own"),
        ({"text": GEMINI, "content_type": "application/json"}, "bad_stream", "v1beta/openai"),
        ({"text": '{"a":1}\n{"b":2}\n'}, "bad_stream", "base_url and protocol"),
        ({"text": "<html>", "content_type": "text/html"}, "bad_stream", "base_url and protocol"),
        ({"text": "\n <html>"}, "bad_stream", "base_url and protocol"),
        ({"text": "<html>", "content_type": "text/event-stream"}, "bad_stream", "base_url"),
        ({"text": "upstream is down"}, "bad_stream", "'upstream is down'"),
        ({"text": '{"choices": [{"mess', "content_type": "application/json"}, "bad_stream", "mess"),
        ({"text": ""}, "stream_cut", "before its answer was complete"),
        (
            {"status": 307, "headers": {"location": "http://elsewhere/v1"}},
            "provider_error",
            "redirects to 'http://elsewhere/v1'",
        ),
    ],
)
async def test_what_is_not_an_answer_is_reported_as_what_it_is(
    answer: dict[str, Any], kind: str, says: str
) -> None:
    """An error with status 200 is that error; a page or a redirect is a wrong address."""
    with pytest.raises(ModelError, match=says) as caught:
        await asked(whole(**answer), replied)
    assert caught.value.kind == kind


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n \n", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("label", ["application/json", "text/event-stream", "text/html", None])
@pytest.mark.parametrize("form", ["document", "stream", "document in a stream"])
async def test_the_body_decides_what_it_is(form: str, label: str | None, before: bytes) -> None:
    """Not its content type, whatever stands before its first character."""
    body = {
        "document": orjson.dumps(DOCUMENT),
        "stream": sse(TEXT, STOP, COUNTED) + DONE,
        "document in a stream": sse(DOCUMENT) + DONE,
    }[form]
    headers = {"content-type": label} if label else {}
    reply = await asked(whole(body=before + body, headers=headers), replied)
    assert (reply.text, reply.finish) == ("Hi", "stop")
    assert reply.usage == Usage(input=3, output=2)


@pytest.mark.parametrize("then", ["break", "stay", "end"])
@pytest.mark.parametrize(
    ("pieces", "usage"),
    [
        ([sse(TEXT, STOP, COUNTED) + DONE], Usage(input=3, output=2)),
        ([sse(TEXT), sse(STOP), sse(COUNTED), DONE], Usage(input=3, output=2)),
        ([sse(TEXT, STOP) + DONE, sse(COUNTED)], Usage(input=3, output=2)),
        ([sse(TEXT, STOP) + DONE], Usage()),
        ([sse(TEXT, STOP, COUNTED)], Usage(input=3, output=2)),
        ([sse(TEXT, STOP)], Usage()),
        ([sse(TEXT, STOP), b"data: <html>\n\n"], Usage()),
        ([sse(TEXT) + DONE], Usage()),
        ([orjson.dumps(DOCUMENT)], Usage(input=3, output=2)),
        ([orjson.dumps(DOCUMENT)[:9], orjson.dumps(DOCUMENT)[9:]], Usage(input=3, output=2)),
    ],
)
async def test_a_complete_answer_is_an_answer_however_its_connection_ends(
    pieces: list[bytes], usage: Usage, then: str
) -> None:
    """Broken, left open or ended; usage after the end still counts."""
    reply = await asked(streaming(*pieces, then=then), replied)
    assert (reply.text, reply.finish, reply.usage) == ("Hi", "stop", usage)


@pytest.mark.parametrize("body", [sse(TEXT), orjson.dumps(DOCUMENT)[:-1]])
async def test_an_answer_that_breaks_off_before_its_end_is_none(body: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        await asked(streaming(body, then="break"), replied)
    assert caught.value.kind == "stream_cut"


async def test_a_secret_is_replaced_in_an_answer_that_breaks_off() -> None:
    """Also where the connection breaks right behind it, and half of another is held back."""
    said = {"choices": [{"index": 0, "delta": {"content": f"{KEY} {KEY[:9]}"}}]}
    reply = await asked(streaming(sse(said, STOP), then="break"), replied, KEY)
    assert reply.text == f"[redacted] {KEY[:9]}"


async def test_a_connection_is_used_again_after_an_answer() -> None:
    """The end of the body is read although nobody waits for it."""
    ports = set[int]()

    async def respond(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        answer: web.StreamResponse = await stream(request)
        return answer

    stream = streaming(sse(TEXT, STOP, COUNTED) + DONE, then="end")
    request = chat.render(Conversation((user("hi"),)), "m")
    async with answering(respond) as provider:
        upstream = Upstream(Secrets({}, {}))
        try:
            for _ in range(3):
                async with upstream.post(provider, request, {}) as answer:
                    await replied(answer)
                await asyncio.gather(*upstream._draining)
        finally:
            await upstream.close()
    assert len(ports) == 1


@pytest.mark.parametrize("scheme", ["", "http://"])
async def test_a_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    seen: list[tuple[str, str | None]] = []

    async def respond(request: web.Request) -> web.Response:
        seen.append((request.host, request.headers.get("proxy-authorization")))
        return web.Response(body=sse(TEXT, STOP) + DONE)

    async with answering(respond) as proxy:
        address = proxy.base_url.removeprefix("http://")
        monkeypatch.setenv("http_proxy", f"{scheme}user:word@{address}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        through = Provider("p", "chat", "http://provider.test/v1")
        assert (await asked_of(through, replied)).text == "Hi"
        await asked_of(proxy, replied)
    assert seen == [("provider.test", "Basic dXNlcjp3b3Jk"), (address, None)]


async def test_an_entry_in_netrc_does_not_reach_a_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider gets the key that is configured for it, or none."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[str | None] = []

    async def respond(request: web.Request) -> web.Response:
        seen.append(request.headers.get("authorization"))
        return web.Response(body=sse(TEXT, STOP) + DONE)

    async with answering(respond) as provider:
        await asked_of(provider, replied)
        await asked_of(provider, replied, authorization={"authorization": "Bearer configured"})
    assert seen == [None, "Bearer configured"]
