"""Recognises the requests that coding agents make beside the conversation.

These are titles, summaries, topics, token counts and probes of the quota. They need one model, not
a panel. They are recognised by what the agents send: a header that names the kind of request, the
required format, or the first words of an instruction. Nothing else of the request is interpreted,
so a client that sends none of this is never affected.

Sources: the agents' requests as measured on 2026-11-22 (Claude Code 2.1.330, Codex 0.169.0,
OpenCode 1.18.33, Cline 3.0.65, Continue CLI 1.5.47), code.claude.com/docs "LLM gateway" (header
``x-claude-code-request-class``), and the prompts in openai/codex ``codex-rs/core/templates``,
anomalyco/opencode ``packages/opencode/src/agent/prompt``, cline/cline ``src/core/prompts``,
continuedev/continue ``core/util/chatDescriber.ts`` and ``extensions/cli/src/compaction.ts``; looked
up on 2026-11-28.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from polyvox.workflows.conversation import Conversation, Message, OutputFormat, Text


@dataclass(frozen=True, slots=True)
class _Words:
    """The first words of an instruction (``by="system"``) or of the newest user message."""

    kind: str
    by: str
    words: str


_WORDS = (
    # Claude Code: session titles (2.1.156 and later, then 2.1.238 and later), earlier versions'
    # topic detection and session summaries, and compaction.
    _Words("title", "system", "Generate a concise, sentence-case title"),
    _Words("title", "user", "Generate a concise, sentence-case title"),
    _Words("title", "system", "You are naming a coding session"),
    _Words("title", "user", "Please write a 5-10 word title"),
    _Words("topic", "system", "Analyze if this message indicates a new conversation topic"),
    _Words("summary", "system", "Summarize this coding conversation"),
    _Words("summary", "user", "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools."),
    _Words(
        "summary", "user", "Your task is to create a detailed summary of the conversation so far"
    ),
    _Words("suggestion", "user", "[SUGGESTION MODE:"),
    # Claude Code and OpenCode: the compaction agent.
    _Words("summary", "system", "You are a helpful AI assistant tasked with summarizing"),
    # Codex: titles and compaction.
    _Words("title", "user", "Generate a concise, single-line task title"),
    _Words("summary", "user", "You are performing a CONTEXT CHECKPOINT COMPACTION"),
    # OpenCode: titles, summaries and compaction.
    _Words("title", "system", "You are a title generator. You output ONLY a thread title"),
    _Words("summary", "system", "Summarize what was done in this conversation"),
    _Words("summary", "system", "You are an anchored context summarization assistant"),
    _Words("summary", "user", "Provide a detailed prompt for continuing our conversation"),
    # Cline: compaction.
    _Words("summary", "user", '<explicit_instructions type="summarize_task">'),
    _Words("summary", "user", '<explicit_instructions type="condense">'),
    # Continue: titles and compaction.
    _Words("title", "user", "Given the following... please reply with a title for the chat"),
    _Words("summary", "user", "Please provide a concise summary of our conversation so far"),
    # Polyvox's own compaction for clients of Responses.
    _Words("summary", "user", "Write a summary of the conversation so far for a colleague"),
)

_BEGINNINGS = {
    by: tuple(known.words for known in _WORDS if known.by == by) for by in ("system", "user")
}

_CLASSES = {"compaction": "summary", "auxiliary": "auxiliary"}
"""Kinds by the header x-claude-code-request-class; the others are main, subagent and workflow."""

_SUBAGENTS = {"compact": "summary", "memory_consolidation": "memory"}
"""Kinds by Codex's header x-openai-subagent; ``review`` and ``collab_spawn`` do real work."""

_FORMATS = {
    frozenset({"title"}): "title",
    frozenset({"isNewTopic", "title"}): "topic",
}
"""Kinds by the properties of the JSON that Claude Code requires."""


def side_request(conversation: Conversation, headers: Mapping[str, str]) -> str:
    """Return what a request beside the conversation is for, such as ``title``; else empty.

    ``headers`` are those that flows may read.
    """
    return (
        _CLASSES.get(headers.get("x-claude-code-request-class", ""), "")
        or _SUBAGENTS.get(headers.get("x-openai-subagent", ""), "")
        or ("memory" if headers.get("x-openai-memgen-request") == "true" else "")
        or _probe(conversation)
        or _by_format(conversation, headers)
        or _by_words(conversation)
    )


def _probe(conversation: Conversation) -> str:
    """Return the kind of a request for one token, whose answer nobody reads."""
    most = conversation.options.max_tokens
    if most is None or most > 1:
        return ""
    return "count" if conversation.last_user_text.strip() == "count" else "quota"


def _by_format(conversation: Conversation, headers: Mapping[str, str]) -> str:
    wanted = conversation.options.format
    from_agent = headers.get("user-agent", "").startswith("claude-cli/") or "x-app" in headers
    if conversation.tools or not from_agent or not isinstance(wanted, OutputFormat):
        return ""
    schema = wanted.schema if isinstance(wanted.schema, dict) else {}
    properties = schema.get("properties")
    return _FORMATS.get(frozenset(properties), "") if isinstance(properties, dict) else ""


def _by_words(conversation: Conversation) -> str:
    texts = {"system": _instructions(conversation), "user": _newest_words(conversation)}
    found = {by: [t for t in texts[by] if t.startswith(_BEGINNINGS[by])] for by in texts}
    for known in _WORDS if any(found.values()) else ():
        if any(text.startswith(known.words) for text in found[known.by]):
            return known.kind
    return ""


def _instructions(conversation: Conversation) -> Iterator[str]:
    if conversation.system is not None:
        yield from _texts(conversation.system)
    for message in conversation.messages:
        if message.role in ("system", "developer"):
            yield from _texts(message)


def _newest_words(conversation: Conversation) -> Iterator[str]:
    newest = next((m for m in reversed(conversation.messages) if m.role == "user"), None)
    if newest is not None:
        yield from _texts(newest)


def _texts(message: Message) -> Iterator[str]:
    for part in message.parts:
        if isinstance(part, Text):
            yield part.text[:500].lstrip()
