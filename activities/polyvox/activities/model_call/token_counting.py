"""Asks a provider how many input tokens a conversation has, where its protocol has the question."""

import asyncio
from dataclasses import replace

import orjson

from polyvox.activities.model_call.directory import Directory
from polyvox.activities.model_call.upstream import Upstream
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError

_LIMIT_S = 5.0
"""An agent asks for counts in bursts before it does anything else: an estimate soon is better."""


class TokenCounter:
    """Counts by the provider's own counting route."""

    def __init__(self, directory: Directory, upstream: Upstream) -> None:
        self._directory = directory
        self._upstream = upstream

    async def count(self, reference: str, conversation: Conversation) -> int | None:
        """Return the provider's count for ``provider:model``; None if it does not tell in time."""
        destination = self._directory.find(reference)
        question = destination.protocol.token_count
        if question is None:
            return None
        try:
            request = destination.protocol.provider.render(conversation, destination.model)
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
