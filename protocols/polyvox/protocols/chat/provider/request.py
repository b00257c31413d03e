"""Writes Chat Completions requests to providers: OpenAI and compatible servers."""

from collections.abc import Mapping

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.chat import elements as wire
from polyvox.protocols.chat.provider.stream import ChatDecoder
from polyvox.protocols.coverage.losses import lose
from polyvox.protocols.decoding.half_characters import WholeCharacters
from polyvox.protocols.neutral import refuse_prefill
from polyvox.protocols.openai import provider_errors as openai_errors
from polyvox.protocols.openai.model_capabilities import fitted, takes_marks, thinks
from polyvox.protocols.provider_side import Decoder, Rendered
from polyvox.protocols.tool_names import allowed_tools
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError

_TOO_LONG = ("maximum context length", "context window", "context size", "prompt is too long")

__all__ = ["decoder", "parse_error", "render"]


def render(conversation: Conversation, model: str) -> Rendered:
    """Render the request for ``model``; see ``ProviderProtocol.render``."""
    losses: list[str] = []
    spoken = conversation.options.on_wire("chat") is not None
    asked, offered = conversation.options, conversation.tools
    stop: tuple[str, ...] = ()
    if not spoken:
        refuse_prefill(conversation)
        asked = fitted(asked, model, losses)
        kept = 0 if thinks(model) else wire.MOST_STOPS
        asked, stop = asked.edited(stop=asked.stop[:kept]), asked.stop[kept:]
        offered = tuple(allowed_tools(offered, asked.tool_choice))
    options = wire.render_options(asked, losses)
    messages = wire.render_messages(conversation, losses, marks=takes_marks(model))
    tools = wire.render_tools(offered, losses)
    if not spoken or len(tools) < len(conversation.tools):
        _restrain(options, tools, losses)
    body = {
        "model": model,
        "messages": messages,
        **options,
        **({"tools": tools} if tools else {}),
        "stream": True,
        # Without it there is no usage in the answer, and costs are computed from usage.
        "stream_options": {**(options.get("stream_options") or {}), "include_usage": True},
    }
    headers = dict(conversation.headers) if spoken else {}
    return Rendered("chat/completions", body, headers, tuple(losses), stop)


def _restrain(options: dict[str, Json], tools: list[Json], losses: list[str]) -> None:
    # OpenAI refuses a tool_choice without tools, and one that names a missing tool.
    choice = options.get("tool_choice")
    kinds = {
        said.get("name"): kind for tool in tools if (said := tool.get(kind := tool.get("type")))
    }
    chosen = choice.get("function") if isinstance(choice, dict) else None
    if chosen is not None:
        kind = kinds.get(chosen.get("name"))
        if kind is None:
            lose(losses, "tool_choice: its tool is not offered")
            del options["tool_choice"]
        else:
            options["tool_choice"] = {"type": kind, kind: chosen}
    if not tools:
        options.pop("tool_choice", None)
        options.pop("parallel_tool_calls", None)


def decoder() -> Decoder:
    """Return a new Decoder."""
    return WholeCharacters(ChatDecoder())


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
    """Read an error answer as OpenAI spells it, or as compatible servers do.

    Google puts a list around the object. Most servers report a prompt that is too long only in the
    message.
    """
    if body[:1] == b"[":
        body = _first(body)
    error = openai_errors.parse_error(status, headers, body)
    said = error.message.lower()
    if error.kind == "invalid_request" and any(words in said for words in _TOO_LONG):
        error.kind = "context_length"
    return error


def _first(body: bytes) -> bytes:
    try:
        said = parse_json(body)
    except orjson.JSONDecodeError:
        return body
    return orjson.dumps(said[0]) if said else body
