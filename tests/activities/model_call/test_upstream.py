"""Answers of an upstream that are no streams, over a real socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from polyvox.activities.model_call.provider import Provider
from polyvox.activities.model_call.redaction import Secrets
from polyvox.activities.model_call.upstream import Upstream
from polyvox.protocols.chat.provider import request as chat
from polyvox.workflows.conversation import Conversation, user
from polyvox.workflows.errors import ModelError


@asynccontextmanager
async def answering(**answer: Any) -> AsyncIterator[Provider]:
    """Serve ``answer`` to every request."""

    async def respond(_request: web.Request) -> web.Response:
        return web.json_response(**answer) if "data" in answer else web.Response(**answer)

    app = web.Application()
    app.router.add_post("/chat/completions", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Provider("p", "chat", f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        ({"data": {"error": {"message": "no credits", "code": 402}}}, "billing", "no credits"),
        ({"data": {"error": {"message": "slow down", "code": 429}}}, "rate_limit", "slow down"),
        ({"data": {"error": {"message": "slow down", "code": "429"}}}, "rate_limit", "slow down"),
        ({"data": {"error": {"message": "Prompt too long"}}}, "context_length", "Prompt too long"),
        ({"data": {"error": {"message": "broken"}}}, "provider_error", "broken"),
        ({"data": {"error": "broken"}}, "provider_error", "broken"),
        ({"data": {"choices": []}}, "bad_stream", "application/json"),
        ({"text": "<html>", "content_type": "text/html"}, "bad_stream", "base_url and protocol"),
        (
            {"status": 307, "headers": {"location": "http://elsewhere/v1"}},
            "provider_error",
            "redirects to 'http://elsewhere/v1'",
        ),
    ],
)
async def test_what_is_no_stream_is_told_for_what_it_is(
    answer: dict[str, Any], kind: str, says: str
) -> None:
    """An error with status 200 is that error; a page or a redirect is a wrong address."""
    upstream = Upstream(Secrets({}, {}))
    request = chat.render(Conversation((user("hi"),)), "m")
    try:
        async with answering(**answer) as provider, upstream.post(provider, request, {}) as got:
            with pytest.raises(ModelError, match=says) as caught:
                await got.check(chat.parse_error)
    finally:
        await upstream.close()
    assert caught.value.kind == kind
