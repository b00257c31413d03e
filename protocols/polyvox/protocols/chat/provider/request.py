"""Writes Chat Completions requests to providers: OpenAI and compatible servers."""

from polyvox.protocols.chat import elements as wire
from polyvox.protocols.chat.history import SPELLING
from polyvox.protocols.chat.provider.fitted_messages import fit_messages
from polyvox.protocols.chat.provider.fitted_options import fit_options, schema_in_words
from polyvox.protocols.chat.provider.fitted_tools import fit_tools, offer_chosen, restrain_choice
from polyvox.protocols.chat.provider.stream import ChatDecoder
from polyvox.protocols.decoding.half_characters import WholeCharacters
from polyvox.protocols.dialects.claude import keep_one_sampler
from polyvox.protocols.dialects.dialect import FULL, Dialect
from polyvox.protocols.dialects.models import for_model
from polyvox.protocols.history.fitting import fitted_history
from polyvox.protocols.neutral import refuse_prefill
from polyvox.protocols.openai import provider_errors as openai_errors
from polyvox.protocols.openai.model_capabilities import fitted, takes_marks, thinks
from polyvox.protocols.provider_side import Decoder, Rendered
from polyvox.protocols.requests.unknown_parts import refuse_unknown_parts
from polyvox.protocols.tool_names import allowed_tools
from polyvox.workflows.conversation import Conversation, Json, Options

parse_error = openai_errors.parse_error

__all__ = ["decoder", "parse_error", "render"]


def render(conversation: Conversation, model: str, dialect: Dialect = FULL) -> Rendered:
    """Render the request for ``model``; see ``ProviderProtocol.render``."""
    losses: list[str] = []
    dialect = for_model(dialect, model)
    refuse_unknown_parts(conversation, "chat")
    own = conversation.options.on_wire("chat") is not None
    is_clients = own and _is_verbatim(conversation)
    conversation = fitted_history(conversation, SPELLING, losses)
    options, offered = conversation.options, conversation.tools
    if not own:
        refuse_prefill(conversation)
        options = fitted(options, model, losses)
    if not (own and dialect.custom_tools):
        # A server that knows nothing but functions does not know a choice of allowed tools either.
        offered = tuple(allowed_tools(offered, options.tool_choice))
    options, stop = _split_stops(options, dialect, model, own=own)
    document = wire.render_options(options, losses)
    if not dialect.custom_tools and options.tool_choice is not None and options.tool_choice.allowed:
        document["tool_choice"] = options.tool_choice.mode
    tools = fit_tools(wire.render_tools(offered, losses), dialect, losses, own=own)
    if not own or len(tools) < len(conversation.tools) or not dialect.custom_tools:
        restrain_choice(document, tools, losses)
    tools = offer_chosen(document, tools, dialect)
    fit_options(document, dialect, model, losses, own=own)
    keep_one_sampler(document, model, losses)
    messages = wire.render_messages(conversation, losses, marks=_takes_marks(model, dialect))
    body = {
        "model": model,
        "messages": fit_messages(
            messages,
            dialect,
            losses,
            own=_own_messages(messages, conversation) if is_clients else [False] * len(messages),
            instruction=schema_in_words(document, dialect, losses),
        ),
        **document,
        **({"tools": tools} if tools else {}),
        "stream": True,
    }
    if "stream_options" in dialect.accepts or "stream_options" in document:
        # Without it there is no usage in the answer, and costs are computed from usage.
        asked_for = document.get("stream_options") or {}
        body["stream_options"] = {**asked_for, "include_usage": True}
    headers = dict(conversation.headers) if own else {}
    return Rendered("chat/completions", body, headers, tuple(losses), stop)


def _split_stops(
    options: Options, dialect: Dialect, model: str, *, own: bool
) -> tuple[Options, tuple[str, ...]]:
    """Return the options with the stop sequences that are sent, and those to watch for."""
    if own and dialect.stops >= wire.MOST_STOPS:
        return options, ()
    kept = 0 if thinks(model) and not own else min(wire.MOST_STOPS, dialect.stops)
    return options.edited(stop=options.stop[:kept]), options.stop[kept:]


def _is_verbatim(conversation: Conversation) -> bool:
    """Whether every message is a client's own: a flow has added none."""
    return all(message.on_wire("chat") is not None for message in conversation.messages)


def _own_messages(rendered: list[Json], conversation: Conversation) -> list[bool]:
    """Whether each message is an element of ``conversation``, and not made for the provider."""
    elements = {id(message.on_wire("chat")) for message in conversation.messages}
    return [id(message) in elements for message in rendered]


def _takes_marks(model: str, dialect: Dialect) -> bool:
    return takes_marks(model) and "prompt_cache_options" in dialect.accepts


def decoder() -> Decoder:
    """Return a new Decoder."""
    return WholeCharacters(ChatDecoder())
