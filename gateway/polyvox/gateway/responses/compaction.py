"""Compaction: a long conversation shortened to its user's messages and a model's summary.

The client gets the summary as a ``compaction`` item, sealed as the protocol demands. When it sends
such an item, the summary replaces it as text, so every provider can read it. Items of a provider's
own compaction are not changed: only that provider can read them.

``POST /v1/responses/compact`` is not forwarded, not even to a provider that has the route: what
it returns could be read by that provider alone, while the next request may be answered by another
model. The difference is a named loss. A ``compaction_trigger`` in a request is passed on, because
its client already relies on that provider.
"""

from dataclasses import replace
from typing import Final

from polyvox.gateway.responses.stored_encoder import StoredStreamEncoder
from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses import elements as wire
from polyvox.protocols.responses.client import response as answers
from polyvox.protocols.responses.client.stream import Encoder
from polyvox.protocols.sealed_reasoning import seal, unseal
from polyvox.workflows.conversation import Conversation, Json, Message, Opaque, Wire, user
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event
from polyvox.workflows.reply import Reply

_REQUEST = """\
Write a summary of the conversation so far for a colleague who will go on with it and sees \
nothing of it but the user's own messages. Say what the user wants, what was found and decided, \
what was changed (with names, paths and values that matter), what failed, and what is left to do. \
Write only the summary."""

_HEAD = "Summary of the conversation so far:\n\n"

_MARK = "compaction:"

OWN_SUMMARY: Final = "compaction: a summary in place of the provider's own"
"""The loss if the provider could have compacted the conversation itself."""


def is_triggered(ask: Ask) -> bool:
    """Return True if ``ask`` ends with the item that asks for a compaction."""
    messages = ask.conversation.messages
    return bool(messages) and _is_trigger(messages[-1])


def _is_trigger(message: Message) -> bool:
    return (message.on_wire("responses") or {}).get("type") == "compaction_trigger"


def asking_for_summary(ask: Ask) -> Ask:
    """Return the request for a summary of the conversation of ``ask``."""
    bare: Conversation = ask.conversation.without_tool_use().with_options(format=None)
    messages = tuple(message for message in bare.messages if not _is_trigger(message))
    return replace(ask, conversation=replace(bare, messages=(*messages, user(_REQUEST))))


def summary_of(message: Message) -> Message:
    """Return the summary for one of Polyvox's compaction items, any other message unchanged."""
    item = message.on_wire("responses") or {}
    slot = item.get("encrypted_content") if item.get("type") == "compaction" else None
    sealed = unseal(slot) if isinstance(slot, str) else None
    if sealed is None or not sealed.opaque.startswith(_MARK):
        return message
    text = _HEAD + sealed.opaque.removeprefix(_MARK)
    return wire.parse_message({"type": "message", "role": "user", "content": text})


class SummaryStreamEncoder(StoredStreamEncoder):
    """Writes a summary as the only item, which an agent that triggered it expects."""

    def feed(self, event: Event) -> bytes:
        return b""

    def finish(self, reply: Reply) -> bytes:
        item = _summary_item(reply, f"cmp_{self.response['id']}")
        part = Opaque(wire=Wire("responses", item))
        return super().finish(replace(reply, parts=(part,), finish="stop"))


def _summary_item(reply: Reply, item_id: str) -> dict[str, Json]:
    sealed = seal("responses", _MARK + reply.text)
    return {"id": item_id, "type": "compaction", "encrypted_content": sealed}


class CompactionEncoder:
    """Writes the answer of ``POST /v1/responses/compact``; ``asked`` is compacted."""

    def __init__(self, asked: Ask) -> None:
        self._asked = asked

    def encoder(self, ask: Ask, *, run_id: str, created: int) -> Encoder:
        return answers.encoder(ask, run_id=run_id, created=created)

    def render(self, ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
        """Render the compacted conversation: the user's messages, then the summary, sealed."""
        stored = [m for m in self._asked.conversation.messages if m.role == "user"]
        items = wire.render_messages(Conversation(tuple(stored)), [])
        words = [
            {
                "status": "completed",
                **item,
                "type": "message",
                "content": _parts(item),
                "id": own_id,
            }
            for index, item in enumerate(items)
            if item.get("role") == "user"
            for own_id in [item.get("id") or f"msg_{run_id}_{index}"]
        ]
        summary = _summary_item(reply, f"cmp_{run_id}_{len(words)}")
        return {
            "id": f"resp_{run_id}",
            "object": "response.compaction",
            "created_at": created,
            "output": [*words, summary],
            "usage": wire.render_usage(reply.usage),
        }

    def render_error(self, error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
        return answers.render_error(error, run_id)


def _parts(item: dict[str, Json]) -> Json:
    content = item.get("content")
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content
