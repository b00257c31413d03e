"""Requests a conversation's input token count from its provider, if the protocol has a route."""

import asyncio
from dataclasses import replace

import orjson

from polyvox.activities.model_call.directory import Directory
from polyvox.activities.model_call.upstream import Upstream
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError

_LIMIT_S = 5.0
"""Agents request counts in bursts before they start, so an early estimate is better."""


class TokenCounter:
    """Counts with the provider's counting route."""

    def __init__(self, directory: Directory, upstream: Upstream) -> None:
        self._directory = directory
        self._upstream = upstream

    async def count(self, reference: str, conversation: Conversation) -> int | None:
        """Return the provider's count for ``provider:model``; None without a count in time."""
        destination = self._directory.find(reference)
        question = destination.protocol.token_count
        if question is None:
            return None
        try:
            request = destination.render(conversation)
            body = {k: v for k, v in request.body.items() if k in question.fields}
            asked = replace(request, path=question.path, body={"model": destination.model, **body})
            authorization = self._directory.authorization(destination)
            async with (
                asyncio.timeout(_LIMIT_S),
                self._upstream.post(destination.provider, asked, authorization) as answer,
            ):
                if answer.status != 200:
                    return None
                document = orjson.loads(await answer.beginning())
        except (ModelError, TimeoutError, orjson.JSONDecodeError):
            return None
        count = document.get("input_tokens") if isinstance(document, dict) else None
        return count if isinstance(count, int) else None
