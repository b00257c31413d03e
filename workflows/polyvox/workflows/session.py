"""Which session a request belongs to, as far as its client tells: the key of what shall stick.

Agents name their session in a header or a field, each its own one. A client that names none is
known by how its conversation begins, which it repeats with every request.
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
"""Claude Code, Codex and opencode, after our own; the first that is there counts."""

AGENT_HEADER = "x-claude-code-agent-id"
"""A sub-agent talks under its parent's session about something else."""

CLIENT_HEADERS = (
    *SESSION_HEADERS,
    AGENT_HEADER,
    "user-agent",
    "x-app",
    "x-claude-code-request-class",
)
"""Request headers a flow may see, besides every ``x-polyvox-...``: none of them is a secret."""

OWN_PREFIX = "x-polyvox-"


def seen_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of a request's ``headers`` (names in lower case) that a flow may see."""
    return {
        name: value
        for name, value in headers.items()
        if name in CLIENT_HEADERS or name.startswith(OWN_PREFIX)
    }


def session_key(conversation: Conversation, headers: Mapping[str, str], owner: str) -> str:
    """Return the key of the session; ``owner`` separates those who must not share one."""
    wire = conversation.options.wire
    named = next((headers[name] for name in SESSION_HEADERS if headers.get(name)), "")
    named = named or (_in_document(wire.json) if wire else "")
    if named:
        return f"{owner} session {named} {headers.get(AGENT_HEADER, '')}"
    return opening_key(conversation, owner)


def _in_document(document: Json) -> str:
    """Return the session a request's own document names, or an empty string."""
    if not isinstance(document, dict):
        return ""
    if isinstance(key := document.get("prompt_cache_key"), str) and key:
        return key
    metadata = document.get("metadata")
    told = metadata.get("user_id") if isinstance(metadata, dict) else None
    try:
        session = json.loads(told)["session_id"] if isinstance(told, str) else ""
    except (ValueError, TypeError, KeyError):
        return ""
    return session if isinstance(session, str) else ""
