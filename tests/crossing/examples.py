"""A real example for every row of the coverage table: a request that has the field, and no other.

``request`` rows and ``tool`` rows are given by the field's value, ``element`` rows by the messages
that hold it (``elements``), ``answer`` rows by whole answers (``answers``).
"""

from collections.abc import Callable
from typing import Final

from polyvox.protocols.coverage.row import Place
from polyvox.workflows.conversation import Json, Protocol
from tests.crossing.elements import ELEMENTS, user

SCHEMA: Final = {
    "type": "object",
    "properties": {"at": {"type": "string"}},
    "required": ["at"],
    "additionalProperties": False,
}
GRAMMAR: Final = {"syntax": "lark", "definition": "start: WORD"}
BASE: Final[dict[Protocol, dict[str, Json]]] = {
    "chat": {"model": "m", "messages": [user("chat")]},
    "responses": {"model": "m", "input": [user("responses")]},
    "messages": {"model": "m", "max_tokens": 4000, "messages": [user("messages")]},
}

_TOOL: Final[dict[Protocol, Json]] = {
    "chat": {"type": "function", "function": {"name": "look", "parameters": SCHEMA}},
    "responses": {"type": "function", "name": "look", "parameters": SCHEMA},
    "messages": {"name": "look", "input_schema": SCHEMA},
}

_FORM: Final = {"type": "json_schema", "schema": SCHEMA}

REQUESTS: Final[dict[Protocol, dict[str, Json]]] = {
    "chat": {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [user("chat")],
        "tools": [_TOOL["chat"]],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "max_completion_tokens": 500,
        "max_tokens": 500,
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 5,
        "stop": ["END"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
        "reasoning.effort": "high",
        "reasoning_effort": "low",
        "verbosity": "low",
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "wav"},
        "functions": [{"name": "look", "parameters": SCHEMA}],
        "function_call": {"name": "look"},
        "frequency_penalty": 0.5,
        "presence_penalty": 0.5,
        "logit_bias": {"50256": -100},
        "seed": 7,
        "prediction": {"type": "content", "content": "x = 1"},
        "web_search_options": {"search_context_size": "low"},
        "moderation": {"model": "omni-moderation-latest"},
        "store": True,
        "metadata": {"team": "blue"},
        "user": "user-1",
        "safety_identifier": "user-1",
        "service_tier": "flex",
        "prompt_cache_key": "session-1",
        "prompt_cache_options": {"mode": "explicit"},
        "prompt_cache_retention": "24h",
    },
    "responses": {
        "model": "m",
        "stream": True,
        "stream_options": {"include_obfuscation": False},
        "store": False,
        "background": True,
        "previous_response_id": "resp_1",
        "conversation": {"id": "conv_1"},
        "metadata": {"team": "blue"},
        "instructions": "Be brief.",
        "input": [user("responses")],
        "tools": [_TOOL["responses"]],
        "tool_choice": {"type": "function", "name": "look"},
        "parallel_tool_calls": False,
        "max_tool_calls": 3,
        "max_output_tokens": 500,
        "temperature": 0.5,
        "top_p": 0.5,
        "top_logprobs": 3,
        "reasoning.effort": "low",
        "reasoning.summary": "auto",
        "reasoning.generate_summary": "auto",
        "reasoning.context": "all_turns",
        "reasoning.mode": "pro",
        "text.format": {**_FORM, "name": "answer"},
        "text.verbosity": "low",
        "include": ["web_search_call.action.sources"],
        "prompt": {"id": "pmpt_1"},
        "truncation": "auto",
        "context_management": [{"type": "compaction", "compact_threshold": 1000}],
        "service_tier": "flex",
        "user": "user-1",
        "safety_identifier": "user-1",
        "prompt_cache_key": "session-1",
        "prompt_cache_options": {"mode": "explicit"},
        "prompt_cache_retention": "24h",
        "moderation": {"model": "omni-moderation-latest"},
        "access_programs": {"cyber": "standard"},
        "background_options": {"completion_window": "2h"},
        "image": {"context_compression": "auto"},
    },
    "messages": {
        "model": "m",
        "stream": True,
        "system": "Be brief.",
        "messages": [user("messages")],
        "tools": [_TOOL["messages"]],
        "tool_choice": {"type": "tool", "name": "look"},
        "max_tokens": 500,
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 5,
        "output_config.effort": "low",
        "output_config.format": _FORM,
        "output_config.task_budget": {"type": "tokens", "total": 1000},
        "output_format": _FORM,
        "thinking.type": "disabled",
        "thinking.budget_tokens": 2000,
        "thinking.display": "summarized",
        "thinking.block_binding": "strict",
        "metadata.user_id": "user-1",
        "service_tier": "standard_only",
        "speed": "fast",
        "cache_control": {"type": "ephemeral"},
        "inference_geo": "us",
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        "container": "container_1",
        "mcp_servers": [{"type": "url", "url": "https://example.com/mcp", "name": "echo"}],
        "diagnostics": {"cache": True},
        "user_profile_id": "profile_1",
        "workspace_id": "workspace_1",
        "safeguards": [{"type": "dangerous_tool_use"}],
    },
}

BESIDE: Final[dict[tuple[Protocol, str], dict[str, Json]]] = {
    ("chat", "tool_choice"): {"tools": [_TOOL["chat"]]},
    ("chat", "function_call"): {"functions": [_TOOL["chat"]["function"]]},
    ("chat", "parallel_tool_calls"): {"tools": [_TOOL["chat"]]},
    ("chat", "top_logprobs"): {"logprobs": True},
    ("responses", "tool_choice"): {"tools": [_TOOL["responses"]]},
    ("responses", "parallel_tool_calls"): {"tools": [_TOOL["responses"]]},
    ("responses", "reasoning.summary"): {"reasoning": {"effort": "low"}},
    ("messages", "tool_choice"): {"tools": [_TOOL["messages"]]},
    ("messages", "thinking.budget_tokens"): {"thinking": {"type": "enabled"}},
    ("messages", "thinking.display"): {"thinking": {"type": "adaptive"}},
    ("messages", "thinking.block_binding"): {"thinking": {"type": "adaptive"}},
}
"""What else a request must hold for the field to mean anything."""

TOOLS: Final[dict[Protocol, dict[str, Json]]] = {
    "chat": {
        "tools.name": "watch",
        "tools.description": "Look at something.",
        "tools.parameters": SCHEMA,
        "tools.strict": True,
        "tools.format": {"type": "grammar", "grammar": GRAMMAR},
    },
    "responses": {
        "tools.name": "watch",
        "tools.description": "Look at something.",
        "tools.parameters": SCHEMA,
        "tools.strict": True,
        "tools.format": {"type": "grammar", **GRAMMAR},
        "tools.defer_loading": True,
        "tools.allowed_callers": ["programmatic"],
        "tools.output_schema": SCHEMA,
        "tools.async": True,
    },
    "messages": {
        "tools.name": "watch",
        "tools.description": "Look at something.",
        "tools.input_schema": SCHEMA,
        "tools.strict": True,
        "tools.cache_control": {"type": "ephemeral"},
        "tools.input_examples": [{"at": "sea"}],
        "tools.eager_input_streaming": True,
        "tools.defer_loading": True,
        "tools.allowed_callers": ["code_execution_20260120"],
    },
}


def request(protocol: Protocol, place: Place, field: str) -> Json:
    """Return a request that has ``field``."""
    body = {**BASE[protocol], **BESIDE.get((protocol, field), {})}
    return _BUILD[place](protocol, field, body)


def _of_request(protocol: Protocol, field: str, body: dict[str, Json]) -> Json:
    outer, _, member = field.partition(".")
    value = REQUESTS[protocol][field]
    return {**body, outer: {**body.get(outer, {}), member: value} if member else value}


def _of_tool(protocol: Protocol, field: str, body: dict[str, Json]) -> Json:
    member, value = field.partition(".")[2], TOOLS[protocol][field]
    tool = _TOOL[protocol]
    if member == "format":
        inner = {"name": "look", "format": value}
        custom = {"custom": inner} if protocol == "chat" else inner
        return {**body, "tools": [{"type": "custom", **custom}]}
    if protocol == "chat":
        return {**body, "tools": [{**tool, "function": {**tool["function"], member: value}}]}
    return {**body, "tools": [{**tool, member: value}]}


def _of_element(protocol: Protocol, field: str, body: dict[str, Json]) -> Json:
    return {**body, "input" if protocol == "responses" else "messages": ELEMENTS[protocol][field]}


_BUILD: Final[dict[Place, Callable[[Protocol, str, dict[str, Json]], Json]]] = {
    "request": _of_request,
    "tool": _of_tool,
    "element": _of_element,
}
