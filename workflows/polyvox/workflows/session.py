"""The session that a request belongs to, derived from what the client sends.

Each agent names its session in its own header or body field. For a client that names none, the
session is identified by the beginning of its conversation, which every request repeats.
"""

import json
from collections.abc import Mapping

from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.steps.transcript import opening_key

SESSION_HEADERS = (
    "x-polyvox-session",
    "x-claude-code-session-id",
    "session-id",
    "x-session-id",
    "x-session-affinity",
)
"""Polyvox's header, then those of Claude Code, Codex and opencode; the first one present counts."""

AGENT_HEADER = "x-claude-code-agent-id"
"""Distinguishes sub-agents, which use their parent's session for another conversation."""

CLIENT_HEADERS = (
    *SESSION_HEADERS,
    AGENT_HEADER,
    "user-agent",
    "x-app",
    "x-claude-code-request-class",
    "x-openai-subagent",
    "x-openai-memgen-request",
)
"""Request headers that flows may read, besides ``x-polyvox-...``; none of them holds a secret."""

OWN_PREFIX = "x-polyvox-"


def seen_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of a request's ``headers`` (names in lower case) that flows may read."""
    return {
        name: value
        for name, value in headers.items()
        if name in CLIENT_HEADERS or name.startswith(OWN_PREFIX)
    }


def session_key(conversation: Conversation, headers: Mapping[str, str], owner: str) -> str:
    """Return the key of the session; sessions of different ``owner`` are separate."""
    wire = conversation.options.wire
    named = next((headers[name] for name in SESSION_HEADERS if headers.get(name)), "")
    named = named or (_in_document(wire.json) if wire else "")
    if named:
        return f"{owner} session {named} {headers.get(AGENT_HEADER, '')}"
    return opening_key(conversation, owner)


def _in_document(document: Json) -> str:
    """Return the session that a request's body names, or an empty string."""
    if not isinstance(document, dict):
        return ""
    if isinstance(key := document.get("prompt_cache_key"), str) and key:
        return key
    metadata = document.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    try:
        session = json.loads(user_id)["session_id"] if isinstance(user_id, str) else ""
    except (ValueError, TypeError, KeyError):
        return ""
    return session if isinstance(session, str) else ""
