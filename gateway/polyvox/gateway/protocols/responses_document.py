"""The response object around the output: what the request said, what the answer says of itself."""

from typing import cast

from polyvox.gateway.protocols.front import Ask
from polyvox.workflows.conversation import Json
from polyvox.workflows.reply import Reply
from polyvox.workflows.wire import responses as wire

# The request fields every response repeats, with what a null or absent one means.
_ECHOED: dict[str, Json] = {
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}

# Echoed only where the client sent them.
_ECHOED_IF_SENT = ("prompt", "prompt_cache_options")


def begun(ask: Ask, response_id: str, created: int) -> dict[str, Json]:
    """Return the response object as it begins: in progress, without output and usage."""
    conversation = ask.conversation
    sent = conversation.options.on_wire("responses") or {}
    echoed = {
        field: default if sent.get(field) is None else sent[field]
        for field, default in _ECHOED.items()
    }
    echoed |= {field: sent[field] for field in _ECHOED_IF_SENT if sent.get(field) is not None}
    echoed["instructions"] = conversation.system and conversation.system.on_wire("responses")
    # A served tier is not known before the answer, and a requested one may be refused.
    tier = sent.get("service_tier") or "auto"
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": ask.model,
        "output": [],
        "reasoning": {"effort": None, "summary": None, **(sent.get("reasoning") or {})},
        "service_tier": tier,
        # Nothing is kept, whatever the client asked for.
        "store": False,
        "text": {"format": {"type": "text"}, "verbosity": "medium", **(sent.get("text") or {})},
        "tools": _tools(ask),
        "usage": None,
        **echoed,
    }


def _tools(ask: Ask) -> list[Json]:
    conversation = ask.conversation
    given = wire.given_tools(conversation.messages)
    own = [tool for tool in conversation.tools if tool.on_wire("responses") not in given]
    return [_echoed_tool(tool) for tool in wire.render_tools(own, [])]


def _echoed_tool(tool: Json) -> Json:
    if tool.get("type") != "function":
        return tool
    strict = tool.get("strict")
    return {
        "description": None,
        "parameters": None,
        **tool,
        "strict": True if strict is None else strict,
    }


def ended(
    response: dict[str, Json], reply: Reply, output: list[Json], completed_at: int
) -> dict[str, Json]:
    """Return the response object as it ends with ``reply``, whose items are ``output``."""
    status, reason = wire.status_of(reply.finish, reply.parts)
    said = reply.wire.json if reply.wire and reply.wire.protocol == "responses" else {}
    said = dict(cast(dict[str, Json], said))
    details = said.pop("incomplete_details", None)
    usage = _usage(reply, said.pop("usage", None))
    tier = said.pop("service_tier", None)
    if status == "completed":
        details = None
    elif not details:
        details = {"reason": reason}
    served = {"auto": "default"}.get(response["service_tier"], response["service_tier"])
    return {
        **response,
        **said,
        "status": status,
        "completed_at": completed_at if status == "completed" else None,
        "incomplete_details": details,
        "output": output,
        "service_tier": tier or served,
        "usage": usage,
    }


def _usage(reply: Reply, said: Json) -> dict[str, Json]:
    usage = wire.render_usage(reply.usage)
    if not isinstance(said, dict) or wire.parse_usage(said) != reply.usage:
        # Several calls: what one of them said besides the meters is not true of the whole run.
        return usage
    merged = {**said, **usage}
    for details in ("input_tokens_details", "output_tokens_details"):
        merged[details] = {**(said.get(details) or {}), **usage[details]}
    return merged
