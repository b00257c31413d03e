"""What a request continues: an earlier response, a conversation, items it refers to by id.

A provider always gets all of it, whatever its protocol and its own state. An item is found only
with the key that it was made with. One that is not found is an error, because the provider would
look it up for this server and not for the client.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.responses import PREFIX, ResponsesStore, StoredResponse
from polyvox.activities.storage.threads import ConversationsStore
from polyvox.gateway.responses.compaction import summary_of
from polyvox.gateway.responses.item_lists import input_items
from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses import elements as wire
from polyvox.protocols.responses.storing import StoreOptions, continued, not_found
from polyvox.workflows.conversation import Json, Message
from polyvox.workflows.errors import ModelError

_OWN_ID = re.compile(r"[a-z]+_(run_[0-9a-f]+)_")

Recent = Mapping[str, tuple[Message, ...]]
"""Whole conversations by the id of their last response, as a WebSocket remembers them."""


_STAND_INS = ("compaction", "item_reference", "reasoning")
"""Items that stand, or may stand, for something else: see ``_kind``."""


def _kind(message: Message) -> str | None:
    item = message.on_wire("responses")
    if item is None:
        return None
    kind = item.get("type") or (None if "role" in item else "item_reference")
    # A client that did not ask for encrypted reasoning sends it back without its content.
    if kind == "reasoning" and (item.get("encrypted_content") or not _made_here(item)):
        return None
    return kind


def _made_here(item: Json) -> re.Match[str] | None:
    """Match the id of an item that was made here; the group is its run's id."""
    return _OWN_ID.match(str(item.get("id")))


class History:
    """Finds what requests continue. ``find`` returns a response of a key as it is now, or None."""

    def __init__(
        self,
        responses: ResponsesStore,
        conversations: ConversationsStore,
        bodies: Bodies,
        find: Callable[[str, str], Awaitable[StoredResponse | None]],
    ) -> None:
        self._responses = responses
        self._conversations = conversations
        self._bodies = bodies
        self._find = find

    async def whole(self, ask: Ask, storing: StoreOptions, key_id: str, recent: Recent) -> Ask:
        """Return ``ask`` with all that it continues.

        Raises ModelError("invalid_request") for what does not exist, naming the field.
        """
        earlier: tuple[Message, ...] = ()
        if storing.previous is not None:
            earlier = await self._previous(storing.previous, key_id, recent)
        elif storing.thread is not None:
            earlier = await self._conversations.messages(storing.thread, key_id)
        own = list(ask.conversation.messages)
        if stands_in := [at for at, message in enumerate(own) if _kind(message) in _STAND_INS]:
            for at in stands_in:
                own[at] = await self._resolved(own[at], at, key_id, recent)
            ask = replace(ask, conversation=replace(ask.conversation, messages=tuple(own)))
        return continued(ask, earlier)

    async def _previous(self, response_id: str, key_id: str, recent: Recent) -> tuple[Message, ...]:
        if response_id in recent:
            return recent[response_id]
        stored = await self._find(response_id, key_id)
        if stored is None:
            raise not_found(response_id)
        if stored.document is None:
            raise ModelError(
                "invalid_request",
                f"Response {response_id!r} has not ended yet: retrieve it until its status is no "
                "longer 'in_progress', then continue it.",
                param="previous_response_id",
            )
        asked = (await self._bodies.fetch(stored.conversation)).messages
        return asked + tuple(wire.parse_message(item) for item in stored.output)

    async def _resolved(self, message: Message, at: int, key_id: str, recent: Recent) -> Message:
        if _kind(message) == "compaction":
            return summary_of(message)
        item = message.on_wire("responses") or {}
        item_id = str(item.get("id"))
        found = await self._named(item_id, key_id, recent)
        if found is None and item.get("type") == "reasoning":
            return message
        if found is None:
            raise ModelError(
                "invalid_request", f"Item with id {item_id!r} not found.", param=f"input[{at}].id"
            )
        return summary_of(found)

    async def _named(self, item_id: str, key_id: str, recent: Recent) -> Message | None:
        for messages in recent.values():
            for message in messages:
                if (message.on_wire("responses") or {}).get("id") == item_id:
                    return message
        own = _made_here({"id": item_id})
        owners = [PREFIX + own[1]] if own else await self._responses.owners_of(item_id)
        for owner in owners:
            stored = await self._find(owner, key_id)
            if stored is None:
                continue
            for item in (*stored.output, *await input_items(self._bodies, stored)):
                if item.get("id") == item_id:
                    return wire.parse_message(item)
        return None
