"""OpenAI Responses as a provider: its requests, and the keys and errors that go with them."""

from polyvox.protocols.decoding.half_characters import WholeCharacters
from polyvox.protocols.neutral import refuse_prefill
from polyvox.protocols.openai import provider_errors as openai_errors
from polyvox.protocols.openai.model_capabilities import fitted, takes_marks
from polyvox.protocols.provider_side import Decoder, Rendered
from polyvox.protocols.responses import elements as wire
from polyvox.protocols.responses.provider.stream import ResponsesDecoder
from polyvox.workflows.conversation import Conversation, Json

__all__ = ["decoder", "parse_error", "render"]

parse_error = openai_errors.parse_error

_KEPT_HERE = ("background", "conversation", "previous_response_id")
"""What refers to our own responses: a provider gets the whole conversation instead."""


def render(conversation: Conversation, model: str) -> Rendered:
    """Render the request; the path is ``responses``."""
    losses: list[str] = []
    spoken = conversation.options.on_wire("responses") is not None
    asked = conversation.options
    if not spoken:
        refuse_prefill(conversation)
        asked = fitted(asked, model, losses)
    body: dict[str, Json] = wire.render_options(asked, losses)
    if not spoken:
        # Nothing refers to it later, and a reasoning model's thoughts come back sealed instead.
        body["store"] = False
        if asked.effort is not None:
            body["include"] = [*body.get("include", ()), "reasoning.encrypted_content"]
    for field in _KEPT_HERE:
        if body.get(field):
            del body[field]
    body["model"] = model
    body["stream"] = True
    instructions = wire.render_system(conversation, losses)
    if instructions is not None:
        body["instructions"] = instructions
    body["input"] = wire.render_messages(conversation, losses, marks=takes_marks(model))
    given = wire.given_tools(conversation.messages)
    tools = [t for t in conversation.tools if not given or t.on_wire("responses") not in given]
    if tools:
        body["tools"] = wire.render_tools(tools, losses)
    if not spoken:
        _choose(body)
    headers = conversation.headers if spoken else ()
    return Rendered("responses", body, dict(headers), tuple(dict.fromkeys(losses)), asked.stop)


def _choose(body: dict[str, Json]) -> None:
    """Name tools in the choice by their kind, which only the tools say."""
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return
    kinds = {tool.get("name"): tool["type"] for tool in body.get("tools", ())}
    named = [{**t, "type": kinds.get(t["name"], "function")} for t in choice.get("tools", [choice])]
    body["tool_choice"] = {**choice, "tools": named} if "tools" in choice else named[0]


def decoder() -> Decoder:
    """Return a new Decoder."""
    return WholeCharacters(ResponsesDecoder())
