"""Writes Messages requests to providers, and the header that carries the key."""

from collections.abc import Mapping

from polyvox.protocols.coverage.losses import LOST_REASONING
from polyvox.protocols.decoding.half_characters import WholeCharacters
from polyvox.protocols.dialects.claude import keep_one_sampler
from polyvox.protocols.dialects.dialect import FULL, Dialect
from polyvox.protocols.dialects.models import for_model
from polyvox.protocols.history.fitting import fitted_history
from polyvox.protocols.messages import elements as messages
from polyvox.protocols.messages.client.request import FORWARDED_HEADERS
from polyvox.protocols.messages.history import SPELLING
from polyvox.protocols.messages.provider.errors import parse_error
from polyvox.protocols.messages.provider.fitted_thoughts import fit_thoughts
from polyvox.protocols.messages.provider.model_capabilities import (
    SAMPLING,
    fit_budget,
    fit_history,
    fit_sampling,
    fit_thinking,
    takes_system_turns,
)
from polyvox.protocols.messages.provider.prefill import end_with_user
from polyvox.protocols.messages.provider.stream import MessagesDecoder
from polyvox.protocols.messages.provider.structured_output import fit_format
from polyvox.protocols.provider_side import Decoder, Rendered
from polyvox.protocols.requests.unknown_parts import refuse_unknown_parts
from polyvox.protocols.tool_names import allowed_tools
from polyvox.workflows.conversation import Conversation, Json

__all__ = ["decoder", "parse_error", "render"]

DEFAULT_MAX_TOKENS = 32_000
"""Output limit for requests of other protocols without one, because this API requires it.

Every current Claude model allows this much, and coding agents request it themselves.
"""

VERSION = "2026-10-21"
"""The API version of requests from clients of other protocols."""

SAMPLING_VERSION = "2023-06-01"
"""The newest version that still accepts temperature, top_p and top_k."""


def render(conversation: Conversation, model: str, dialect: Dialect = FULL) -> Rendered:
    """Render the request; see ``ProviderProtocol.render``."""
    losses: list[str] = []
    refuse_unknown_parts(conversation, "messages")
    conversation = fitted_history(conversation, SPELLING, losses)
    body: dict[str, Json] = {"model": model}
    system = messages.render_system(conversation, losses)
    if system is not None:
        body["system"] = system
    body["messages"] = messages.render_messages(
        conversation, losses, system_turns=takes_system_turns(model)
    )
    is_own = conversation.options.on_wire("messages") is not None
    choice = None if is_own else conversation.options.tool_choice
    tools = messages.render_tools(allowed_tools(conversation.tools, choice), losses)
    if tools:
        body["tools"] = tools
    body |= messages.render_options(conversation.options, losses)
    body.setdefault("max_tokens", DEFAULT_MAX_TOKENS)
    body["stream"] = True
    headers = {name: value for name, value in conversation.headers if name in FORWARDED_HEADERS}
    _fit(body, conversation, model, dialect, headers, losses)
    keep_one_sampler(body, model, losses)
    fit_thoughts(body, for_model(dialect, model).thoughts)
    end_with_user(body, conversation, model, losses)
    wanted = fit_format(body, conversation, model, losses)
    version = SAMPLING_VERSION if any(name in body for name in SAMPLING) else VERSION
    headers.setdefault("anthropic-version", version)
    sent = body.get("stop_sequences") or ()
    stop = tuple(sequence for sequence in conversation.options.stop if sequence not in sent)
    named = tuple(dict.fromkeys(losses))
    return Rendered("messages", body, headers, named, stop, wanted=wanted)


def _fit(
    body: dict[str, Json],
    conversation: Conversation,
    model: str,
    dialect: Dialect,
    headers: Mapping[str, str],
    losses: list[str],
) -> None:
    """Adapt what the client did not send itself to the model and the client's API version."""
    own: dict[str, Json] = conversation.options.on_wire("messages") or {}
    choice = body.get("tool_choice")
    if choice is not None and not _offers(body.get("tools", ()), choice):
        if choice["type"] in ("any", "tool"):
            losses.append("tool_choice: its tool is not offered")
        if body.get("tools") and choice["type"] == "tool":
            rest = {name: value for name, value in choice.items() if name != "name"}
            body["tool_choice"] = {**rest, "type": "auto"}
        else:
            del body["tool_choice"]
    if body.get("thinking") != own.get("thinking"):
        fit_thinking(body, model, losses, adaptive=dialect.adaptive_thinking)
    if body.get("thinking") != own.get("thinking") or LOST_REASONING in losses:
        fit_history(body, losses)
    if body["max_tokens"] != own.get("max_tokens"):
        fit_budget(body, losses)
    ours = [name for name in SAMPLING if name in body and body[name] != own.get(name)]
    if ours:
        version = headers.get("anthropic-version", SAMPLING_VERSION)
        fit_sampling(body, ours, model, version, losses)


def _offers(tools: list[Json], choice: dict[str, Json]) -> bool:
    name = choice.get("name")
    return bool(tools) if name is None else any(tool.get("name") == name for tool in tools)


def decoder() -> Decoder:
    """Return a new Decoder."""
    return WholeCharacters(MessagesDecoder())
