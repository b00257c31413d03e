"""A request as Codex sends it, and what a Chat Completions provider gets of a request."""

from typing import Any

from polyvox.protocols.chat.provider import request as chat
from polyvox.protocols.dialects.dialect import PLAIN, Dialect
from polyvox.protocols.dialects.servers import SERVERS
from polyvox.protocols.provider_side import Rendered
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation

GRAMMAR = "start: /.+/s"

CODEX: dict[str, Any] = {
    "model": "m",
    "instructions": "You are a coding agent.",
    "input": [
        {"role": "developer", "content": [{"type": "input_text", "text": "Sandbox: on."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Fix the bug."}]},
        {
            "type": "custom_tool_call",
            "call_id": "call_1",
            "name": "apply_patch",
            "input": '*** Begin Patch\n"x"',
        },
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Done"},
        {"role": "developer", "content": [{"type": "input_text", "text": "Approvals: never."}]},
    ],
    "tools": [
        {
            "type": "custom",
            "name": "apply_patch",
            "description": "Edit files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": GRAMMAR},
        },
        {
            "type": "function",
            "name": "shell",
            "description": "Run a command.",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "high"},
    "text": {"verbosity": "low"},
    "prompt_cache_key": "session",
    "store": False,
    "max_output_tokens": 100,
    "stream": True,
}


def parsed(protocol: str, document: dict[str, Any]) -> Conversation:
    """Parse a client's request."""
    return PROTOCOLS[protocol].parser.parse(document, {}).conversation


def to_chat(
    document: dict[str, Any], dialect: Dialect, model: str = "m", protocol: str = "responses"
) -> Rendered:
    """Render a client's request for a Chat Completions provider."""
    return chat.render(parsed(protocol, document), model, dialect)


def lost(request: Rendered) -> set[str]:
    """Return the fields that are named as losses."""
    return {loss.partition(":")[0] for loss in request.losses}


def dialect_named(name: str) -> Dialect:
    """Return the dialect of a known server, the plain form for any other name."""
    return SERVERS[name].dialect if name in SERVERS else PLAIN
