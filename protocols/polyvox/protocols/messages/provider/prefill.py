"""Ends a request with a user turn where the model does not continue an answer.

Claude 4.6 and later refuse a conversation that ends with an assistant message, and so does every
model that thinks (Anthropic's page on extended thinking).
"""

from polyvox.protocols.dialects.claude import continues_reply
from polyvox.protocols.dialects.final_turn import CONTINUE, NO_PREFILL
from polyvox.protocols.messages.provider.model_capabilities import generation
from polyvox.workflows.conversation import Conversation, Json, Opaque


def end_with_user(
    body: dict[str, Json], conversation: Conversation, model: str, losses: list[str]
) -> None:
    """Append a user turn to the messages of ``body`` if they end with an answer.

    An answer that the provider itself paused is continued as it stands. Models that accept a
    beginning of their answer get it, those that are not Claude from a Messages client only.
    """
    turns: list[Json] = body["messages"]
    if turns[-1]["role"] != "assistant" or _is_paused(conversation):
        return
    claude = generation(model)
    last = conversation.messages[-1]
    is_own = last.on_wire("messages") is not None
    thinks = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    continues = is_own if claude is None else continues_reply(model) and not thinks
    if continues:
        if not is_own:
            _trim(turns)
        return
    turns.append({"role": "user", "content": CONTINUE})
    losses.append(NO_PREFILL)


def _is_paused(conversation: Conversation) -> bool:
    """Whether the provider interrupted its turn while one of its own tools ran.

    A client's message of such a turn ends with the tool; a flow continues any paused reply.
    """
    last = conversation.messages[-1]
    parts = last.parts if last.wire is None else last.parts[-1:]
    blocks = (part.on_wire("messages") for part in parts if isinstance(part, Opaque))
    return any("tool" in str(block.get("type")) for block in blocks if isinstance(block, dict))


def _trim(turns: list[Json]) -> None:
    """Remove white space from the end, which the API refuses there."""
    content = turns[-1]["content"]
    if content and content[-1].get("type") == "text":
        trimmed = {**content[-1], "text": content[-1]["text"].rstrip()}
        turns[-1] = {**turns[-1], "content": [*content[:-1], trimmed]}
