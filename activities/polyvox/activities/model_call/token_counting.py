"""Requests a conversation's input token count from its provider, if the protocol has a route."""

import asyncio
from dataclasses import dataclass, replace

import orjson

from polyvox.activities.model_call.directory import Directory
from polyvox.activities.model_call.large_conversations import without_delay
from polyvox.activities.model_call.upstream import Upstream
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.protocols.client_side import Ask
from polyvox.protocols.requests.credentials import secrets_in
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

_LIMIT_S = 5.0
"""Agents request counts in bursts before they start, so an early estimate is better."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A provider's count: the ``document`` for the client, and what was not counted."""

    document: dict[str, Json]
    losses: tuple[str, ...]


class TokenCounter:
    """Counts with the provider's counting route."""

    def __init__(self, directory: Directory, upstream: Upstream, bodies: Bodies) -> None:
        self._directory = directory
        self._upstream = upstream
        self._bodies = bodies

    async def count(self, reference: str, ask: Ask, key_id: str) -> Counted | None:
        """Return the count of ``provider:model``; None without a count in time.

        A provider of the client's protocol gets every member that its route does not refuse, and
        its whole answer is passed on; any other gets the members that its route is known to take.
        ``key_id`` is the client's key. Raises ModelError("invalid_request") for a credential that
        is encrypted for another one.
        """
        destination = self._directory.find(reference)
        question = destination.protocol.token_count
        if question is None:
            return None
        stored = ask.conversation
        conversation = await without_delay(stored, lambda: self._bodies.opened(stored, key_id))
        is_own = destination.protocol.name == ask.protocol
        try:
            request, credentials = await without_delay(
                conversation, lambda: (destination.render(conversation), secrets_in(conversation))
            )
            left_out = question.left_out(request.body, is_own=is_own)
            body = {name: v for name, v in request.body.items() if name not in left_out}
            asked = replace(request, path=question.path, body=body)
            authorization = self._directory.authorization(destination)
            async with (
                asyncio.timeout(_LIMIT_S),
                self._upstream.post(
                    destination.provider, asked, authorization, credentials
                ) as answer,
            ):
                if answer.status != 200:
                    return None
                document = orjson.loads(await answer.beginning())
        except (ModelError, TimeoutError, orjson.JSONDecodeError):
            return None
        count = document.get("input_tokens") if isinstance(document, dict) else None
        if not isinstance(count, int):
            return None
        sent = (conversation.options.on_wire(ask.protocol) or {}).keys() - question.defaults.keys()
        losses = [f"{name}: not counted" for name in left_out if name in sent]
        return Counted(document if is_own else {"input_tokens": count}, (*request.losses, *losses))
