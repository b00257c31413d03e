"""OpenAI Responses as a provider: its requests, and the keys and errors that go with them."""

from polyvox.protocols.decoding.half_characters import WholeCharacters
from polyvox.protocols.dialects.claude import keep_one_sampler
from polyvox.protocols.dialects.dialect import FULL, Dialect
from polyvox.protocols.dialects.models import for_model
from polyvox.protocols.history.fitting import fitted_history
from polyvox.protocols.neutral import refuse_prefill
from polyvox.protocols.openai import provider_errors as openai_errors
from polyvox.protocols.openai.model_capabilities import fitted, takes_marks
from polyvox.protocols.provider_side import Decoder, Rendered
from polyvox.protocols.requests.unknown_parts import refuse_unknown_parts
from polyvox.protocols.responses import elements as wire
from polyvox.protocols.responses.history import SPELLING
from polyvox.protocols.responses.provider.fitted_options import leave_out_effort, plain_fields
from polyvox.protocols.responses.provider.fitted_tools import only_functions, restrain_choice
from polyvox.protocols.responses.provider.one_instruction import one_instruction
from polyvox.protocols.responses.provider.stream import ResponsesDecoder
from polyvox.workflows.conversation import Conversation, Json

__all__ = ["decoder", "parse_error", "render"]

parse_error = openai_errors.parse_error

_KEPT_HERE = ("background", "conversation", "previous_response_id")
"""What refers to our own responses: a provider gets the whole conversation instead."""


def render(conversation: Conversation, model: str, dialect: Dialect = FULL) -> Rendered:
    """Render the request; the path is ``responses``."""
    losses: list[str] = []
    refuse_unknown_parts(conversation, "responses")
    conversation = fitted_history(conversation, SPELLING, losses)
    own = conversation.options.on_wire("responses") is not None
    options = conversation.options
    if not own:
        refuse_prefill(conversation)
        options = fitted(options, model, losses)
    body: dict[str, Json] = wire.render_options(options, losses)
    if not own:
        # Nothing refers to it later, and a reasoning model's thoughts come back sealed instead.
        body["store"] = False
        if options.effort is not None:
            body["include"] = [*body.get("include", ()), "reasoning.encrypted_content"]
    for field in _KEPT_HERE:
        if body.get(field):
            del body[field]
    body["model"] = model
    body["stream"] = True
    instructions = wire.render_system(conversation, losses)
    if instructions is not None:
        body["instructions"] = instructions
    marks = takes_marks(model) and "prompt_cache_options" in dialect.accepts
    body["input"] = wire.render_messages(conversation, losses, marks=marks)
    simple = dialect.responses == "functions"
    given = [] if simple else wire.given_tools(conversation.messages)
    tools = [t for t in conversation.tools if not given or t.on_wire("responses") not in given]
    if tools:
        body["tools"] = wire.render_tools(tools, losses)
    if not (own or dialect.is_known):
        plain_fields(body, losses)
    if "reasoning_effort" in for_model(dialect, model).refuses:
        leave_out_effort(body, dialect.server, losses)
    if simple or not (own or dialect.custom_tools):
        only_functions(body)
    if simple:
        one_instruction(body, losses)
    if conversation.tools and not own:
        restrain_choice(body, conversation.tools, losses)
    keep_one_sampler(body, model, losses)
    headers = conversation.headers if own else ()
    return Rendered("responses", body, dict(headers), tuple(dict.fromkeys(losses)), options.stop)


def decoder() -> Decoder:
    """Return a new Decoder."""
    return WholeCharacters(ResponsesDecoder())
