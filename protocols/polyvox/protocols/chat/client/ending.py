"""What a Chat Completions stream and a whole answer share: ids, finish, usage, further members."""

from polyvox.protocols.chat import elements as wire
from polyvox.protocols.chat.passing import last_chunk, without_last
from polyvox.protocols.chat.transcript import Fragment
from polyvox.protocols.neutral import citations_of
from polyvox.protocols.openai.annotations import chat_annotations
from polyvox.workflows.conversation import Json, Part, Reasoning, Refusal, Text, ToolCall
from polyvox.workflows.reply import Reply

_TYPED: dict[type[Part], tuple[str, ...]] = {
    Text: ("content",),
    Refusal: ("refusal",),
    Reasoning: ("reasoning_content", "reasoning"),
    ToolCall: ("tool_calls", "function_call"),
}


def answer_id(run_id: str) -> str:
    """Return the ``id`` of the answer of a run."""
    return f"chatcmpl-{run_id}"


def further_members(part: Part, offset: int) -> Fragment:
    """Return further message members of ``part``: annotations, reasoning details.

    ``offset`` is where the text of ``part`` begins in the text of the message.
    """
    typed = _TYPED.get(type(part), ())
    fragment = part.on_wire("chat") or {}
    members = {name: value for name, value in fragment.items() if name not in typed}
    if isinstance(part, Reasoning):
        members.update(wire.seal_reasoning(part))
    elif (
        isinstance(part, Text)
        and part.on_wire("chat") is None
        and (cited := chat_annotations(citations_of(part), offset))
    ):
        members["annotations"] = cited
    return members


def ending(reply: Reply) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the members of the answer's document, and of its choice with ``finish_reason``."""
    answer = without_last(_members(reply))
    choices = answer.pop("choices", None) or [{}]
    answer.pop("usage", None)
    choice = dict(choices[0])
    if not choice and (logprobs := _logprobs(reply)):
        choice["logprobs"] = {"content": logprobs, "refusal": None}
    word = choice.get("finish_reason")
    choice["finish_reason"] = wire.finish_reason(reply.finish, word)
    if word is not None and word not in wire.FINISH_REASONS:
        # OpenRouter's member for a word that clients do not know.
        choice.setdefault("native_finish_reason", word)
    return answer, choice


def last_members(reply: Reply) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the further members of the chunk that ended the answer, and those of its choice."""
    return last_chunk(_members(reply))


def _logprobs(reply: Reply) -> list[Json]:
    """Return the log probabilities of a Responses answer; both protocols use the same format."""
    parts = (part.on_wire("responses") for part in reply.parts if isinstance(part, Text))
    spelled = (own.get("part", own).get("logprobs") for own in parts if own is not None)
    return [token for tokens in spelled if isinstance(tokens, list) for token in tokens]


def render_usage(reply: Reply) -> dict[str, Json] | None:
    """Return the ``usage`` of ``reply``, None if nothing is known."""
    return wire.render_usage(reply.usage, _members(reply).get("usage"))


def _members(reply: Reply) -> dict[str, Json]:
    if reply.wire is None or reply.wire.protocol != "chat":
        return {}
    members: dict[str, Json] = reply.wire.json
    return members
