"""What happens to Chat Completions fields over the other protocols; see ``coverage``.

Fields: ``openai.types.chat.completion_create_params`` (SDK 3.54) and ``top_k``, which compatible
servers accept.
"""

from polyvox.protocols.coverage.row import Fate, Place, Row, becomes, idle, lost, refused
from polyvox.workflows.conversation import Json, Protocol


def _row(
    field: str,
    responses: Fate,
    messages: Fate | None = None,
    *,
    place: Place = "request",
    defaults: tuple[Json, ...] = (),
) -> Row:
    over: dict[Protocol, Fate] = {"responses": responses, "messages": messages or responses}
    return Row(place, field, over, defaults)


_OURS = idle("Polyvox does it")
_FUNCTIONS = "read as today's word for it, also for Chat providers"
_NO_LOGPROBS = refused(
    "This model's provider gives no log probabilities. Leave logprobs and top_logprobs out."
)

_REQUEST = (
    _row("model", idle("the virtual model says which model is asked")),
    _row("stream", _OURS),
    _row("stream_options", _OURS),
    _row("messages", becomes("input"), becomes("messages", "those at the head become `system`")),
    _row("tools", becomes("tools")),
    _row("tool_choice", becomes("tool_choice")),
    _row("parallel_tool_calls", becomes("parallel_tool_calls"), becomes("tool_choice")),
    _row(
        "max_completion_tokens", becomes("max_output_tokens", "at least 16"), becomes("max_tokens")
    ),
    _row("max_tokens", becomes("max_output_tokens", "at least 16"), becomes("max_tokens")),
    _row(
        "temperature",
        becomes("temperature", "but for models that take none"),
        becomes("temperature", "at most 1; but for models that take none"),
    ),
    _row("top_p", becomes("top_p", "but for models that take none")),
    _row("top_k", lost(), becomes("top_k", "but for models that take none")),
    _row("stop", idle("Polyvox ends the answer there"), becomes("stop_sequences")),
    _row(
        "response_format",
        becomes("text.format"),
        becomes("output_config.format", "`json_object` is asked for in words"),
        defaults=({"type": "text"},),
    ),
    _row(
        "reasoning_effort",
        becomes("reasoning.effort", "as far as the model has it"),
        becomes("output_config.effort", "and `thinking`, as the model has it"),
    ),
    _row(
        "reasoning.effort",
        becomes("reasoning.effort", "OpenRouter's spelling of `reasoning_effort`"),
        becomes("output_config.effort", "OpenRouter's spelling of `reasoning_effort`"),
    ),
    _row("verbosity", becomes("text.verbosity"), lost(), defaults=("medium",)),
    _row(
        "n",
        idle("Polyvox asks once for each answer: as many runs, all of them paid"),
        defaults=(1,),
    ),
    _row(
        "logprobs",
        becomes("include", "`message.output_text.logprobs`"),
        _NO_LOGPROBS,
        defaults=(False,),
    ),
    _row("top_logprobs", becomes("top_logprobs"), _NO_LOGPROBS, defaults=(0,)),
    _row(
        "modalities",
        refused("This model's provider answers in text only. Ask for modalities ['text']."),
        defaults=(["text"],),
    ),
    _row("audio", lost("answers are text")),
    _row("functions", becomes("tools", _FUNCTIONS)),
    _row("function_call", becomes("tool_choice", _FUNCTIONS)),
    _row("frequency_penalty", lost(), defaults=(0,)),
    _row("presence_penalty", lost(), defaults=(0,)),
    _row("logit_bias", lost()),
    _row("seed", lost()),
    _row("prediction", lost("it only makes an answer faster")),
    _row("web_search_options", lost("run by its own provider only")),
    _row("moderation", lost()),
    _row("store", lost("nothing is kept at the provider"), defaults=(False,)),
    _row("metadata", becomes("metadata"), lost()),
    _row("user", becomes("user"), becomes("metadata.user_id")),
    _row("safety_identifier", becomes("safety_identifier"), becomes("metadata.user_id")),
    _row(
        "service_tier",
        becomes("service_tier"),
        lost(),
        defaults=("auto", "default"),
    ),
    _row("prompt_cache_key", becomes("prompt_cache_key"), lost("caches are found by content")),
    _row("prompt_cache_options", becomes("prompt_cache_options"), lost()),
    _row("prompt_cache_retention", becomes("prompt_cache_retention"), lost()),
)


def _tool(
    field: str, responses: Fate, messages: Fate | None = None, *, defaults: tuple[Json, ...] = ()
) -> Row:
    return _row(field, responses, messages, place="tool", defaults=defaults)


_TOOLS = (
    _tool("tools.name", becomes("name", "one longer than 64 characters is shortened there")),
    _tool("tools.description", becomes("description")),
    _tool("tools.parameters", becomes("parameters"), becomes("input_schema")),
    _tool("tools.strict", becomes("strict")),
    _tool(
        "tools.format",
        becomes("format"),
        lost("the grammar is told in words, and no longer enforced"),
        defaults=({"type": "text"},),
    ),
)


def _element(
    field: str, responses: Fate, messages: Fate | None = None, *, defaults: tuple[Json, ...] = ()
) -> Row:
    return _row(field, responses, messages, place="element", defaults=defaults)


_CACHE = "for models that have it"

_ELEMENTS = (
    _element("message.name", lost()),
    _element("text", becomes("input_text"), becomes("text", "but for empty ones")),
    _element(
        "text.prompt_cache_breakpoint",
        becomes("prompt_cache_breakpoint", _CACHE),
        becomes("cache_control"),
    ),
    _element("refusal", becomes("refusal"), becomes("text")),
    _element("image_url", becomes("input_image"), becomes("image")),
    _element("image_url.detail", becomes("detail"), lost(), defaults=("auto",)),
    _element(
        "image_url.prompt_cache_breakpoint",
        becomes("prompt_cache_breakpoint", _CACHE),
        becomes("cache_control"),
    ),
    _element("file", becomes("input_file"), becomes("document")),
    _element(
        "file.file_id",
        becomes("file_id"),
        refused("A file stored at OpenAI cannot be sent there. Send its data."),
    ),
    _element(
        "file.prompt_cache_breakpoint",
        becomes("prompt_cache_breakpoint", _CACHE),
        becomes("cache_control"),
    ),
    _element("input_audio", refused("This model's provider takes no audio. Send a transcript.")),
    _element("function", becomes("function_call"), becomes("tool_use")),
    _element("custom", becomes("custom_tool_call"), becomes("tool_use", "inside `input`")),
    _element("tool", becomes("function_call_output"), becomes("tool_result")),
    _element("reasoning", lost("only the provider that wrote it can take it back")),
    _element("audio", lost("known to its own protocol only")),
    _element("message.annotations", lost("the text stays")),
)


def _answer(field: str, responses: Fate, messages: Fate | None = None) -> Row:
    return _row(field, responses, messages, place="answer")


_ANSWER = (
    _answer("content", becomes("output_text"), becomes("text")),
    _answer("refusal", becomes("refusal"), becomes("stop_details")),
    _answer("reasoning_content", becomes("reasoning"), becomes("thinking")),
    _answer("tool_calls", becomes("function_call"), becomes("tool_use")),
    _answer("annotations", becomes("annotations"), lost("the text stays")),
    _answer("logprobs", lost()),
    _answer("audio", lost("known to its own protocol only")),
    _answer("images", lost("known to its own protocol only")),
    _answer("usage", becomes("usage")),
)

ROWS = (*_REQUEST, *_TOOLS, *_ELEMENTS, *_ANSWER)
