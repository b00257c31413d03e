"""The response object around the output: fields of the request and of the answer.

If a provider of this protocol answers alone (``Ask.direct``), the object repeats what the provider
said of the request, from its first event on. Otherwise it repeats the client's request, because a
flow may have asked with other tools and settings.
"""

from typing import cast

from polyvox.protocols.client_side import Ask
from polyvox.protocols.requests.credentials import redacted
from polyvox.protocols.responses import elements as wire
from polyvox.workflows.conversation import Json
from polyvox.workflows.reply import Reply

# The request fields that every response repeats, with the value of a null or absent one.
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

# The model's settings: the client's value, else the provider's.
_SETTINGS = (
    "frequency_penalty",
    "max_tool_calls",
    "presence_penalty",
    "prompt_cache_retention",
    "temperature",
    "top_logprobs",
    "top_p",
    "truncation",
)
_NESTED_SETTINGS = ("reasoning", "text")

# Fields of the request that a flow may have set differently.
_REQUESTED = frozenset(
    (
        *("max_output_tokens", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options"),
        *("safety_identifier", "tool_choice", "tools", "user"),
    )
)

# Echoed only if the client sent them.
_ECHOED_IF_SENT = ("prompt", "prompt_cache_options")


def begun(ask: Ask, response_id: str, created: int) -> dict[str, Json]:
    """Return the response object at the start: in progress, without output and usage."""
    conversation = ask.conversation
    sent = conversation.options.on_wire("responses") or {}
    echoed = {
        field: default if sent.get(field) is None else sent[field]
        for field, default in _ECHOED.items()
    }
    echoed |= {field: sent[field] for field in _ECHOED_IF_SENT if sent.get(field) is not None}
    if thread := sent.get("conversation"):
        echoed["conversation"] = thread if isinstance(thread, dict) else {"id": thread}
    echoed["instructions"] = conversation.system and conversation.system.on_wire("responses")
    # The served tier is unknown before the answer, and the requested one may be refused.
    tier = sent.get("service_tier") or "auto"
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": bool(sent.get("background")),
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": ask.model,
        "output": [],
        "reasoning": {"effort": None, "summary": None, **(sent.get("reasoning") or {})},
        "service_tier": tier,
        "store": sent.get("store") is not False,
        "text": {"format": {"type": "text"}, "verbosity": "medium", **(sent.get("text") or {})},
        "tools": _tools(ask),
        "usage": None,
        **echoed,
    }


def as_provided(response: dict[str, Json], provided: dict[str, Json]) -> dict[str, Json]:
    """Return ``response`` with the settings in ``provided``, its only provider's own response."""
    word = {name: value for name, value in provided.items() if name not in _OF_THE_END}
    for name in _NESTED_SETTINGS:
        if isinstance(given := word.get(name), dict):
            word[name] = {**response[name], **given}
    if "tools" in word:
        word["tools"] = _merged_tools(response["tools"], word["tools"])
    return {**response, **word}


_OF_THE_END = frozenset(("incomplete_details", "usage"))


def _merged_tools(ours: list[Json], provided: Json) -> list[Json]:
    """Return the client's tools with the provider's defaults, if it repeats the same tools."""
    if not isinstance(provided, list) or list(map(_identity, ours)) != list(
        map(_identity, provided)
    ):
        return ours
    return [{**own, **word} for own, word in zip(ours, provided, strict=True)]


def _identity(tool: Json) -> tuple[Json, ...]:
    return tuple(tool.get(name) for name in ("type", "name", "server_label"))


def _tools(ask: Ask) -> list[Json]:
    conversation = ask.conversation
    given = wire.given_tools(conversation.messages)
    own = [tool for tool in conversation.tools if tool.on_wire("responses") not in given]
    return [_echoed_tool(redacted(tool)) for tool in wire.render_tools(own, [])]


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
    response: dict[str, Json], ask: Ask, reply: Reply, output: list[Json], completed_at: int
) -> dict[str, Json]:
    """Return the response object at the end, with ``reply``, whose items are ``output``."""
    status, reason = wire.status_of(reply.finish, reply.parts)
    provided = reply.wire.json if reply.wire and reply.wire.protocol == "responses" else {}
    provided = dict(cast(dict[str, Json], provided))
    if ask.direct:
        response = as_provided(response, provided)
        provided = {name: value for name, value in provided.items() if name in _OF_THE_END}
        provided["service_tier"] = response["service_tier"]
        settings = {}
    else:
        provided = {name: value for name, value in provided.items() if name not in _REQUESTED}
        settings = _settings(
            provided, ask.conversation.options.on_wire("responses") or {}, response
        )
    details = provided.pop("incomplete_details", None)
    usage = _usage(reply, provided.pop("usage", None))
    tier = provided.pop("service_tier", None)
    if status == "completed":
        details = None
    elif not details:
        details = {"reason": reason}
    served = "default" if response["service_tier"] == "auto" else response["service_tier"]
    return {
        **response,
        **provided,
        **settings,
        "status": status,
        "completed_at": completed_at if status == "completed" else None,
        "incomplete_details": details,
        "output": output,
        "service_tier": tier or served,
        "usage": usage,
    }


def _settings(
    provided: dict[str, Json], sent: dict[str, Json], response: dict[str, Json]
) -> dict[str, Json]:
    """Remove the settings from ``provided``, a provider's response; return the client's."""
    settings = {
        name: provided.pop(name) if sent.get(name) is None else response[name]
        for name in _SETTINGS
        if name in provided
    }
    for name in _NESTED_SETTINGS:
        given = provided.pop(name, None)
        if isinstance(given, dict):
            own = {k: v for k, v in (sent.get(name) or {}).items() if v is not None}
            settings[name] = {**response[name], **given, **own}
    if "text" in settings:
        # The text format is the one the client requested, whatever a flow requested of its model.
        settings["text"]["format"] = response["text"]["format"]
    return settings


def _usage(reply: Reply, reported: Json) -> dict[str, Json]:
    usage = wire.render_usage(reply.usage)
    if not isinstance(reported, dict) or wire.parse_usage(reported) != reply.usage:
        # Several calls: further members of one call's usage do not hold for the whole run.
        return usage
    merged = {**reported, **usage}
    for details in ("input_tokens_details", "output_tokens_details"):
        further = reported.get(details)
        merged[details] = {**(further if isinstance(further, dict) else {}), **usage[details]}
    return merged
