"""What happens to Responses fields over the other protocols; see ``coverage``.

Fields: ``openai.types.responses.response_create_params`` (SDK 3.54).
"""

from polyvox.protocols.coverage.row import Fate, Place, Row, becomes, idle, lost, refused
from polyvox.workflows.conversation import Json


def _row(
    field: str,
    chat: Fate,
    messages: Fate | None = None,
    *,
    place: Place = "request",
    defaults: tuple[Json, ...] = (),
) -> Row:
    return Row(place, field, {"chat": chat, "messages": messages or chat}, defaults)


_OURS = idle("Polyvox does it")
_ITS_OWN = lost("run by its own provider only")

_REQUEST = (
    _row("model", idle("the virtual model says which model is asked")),
    _row("stream", _OURS),
    _row("stream_options", _OURS),
    _row("store", _OURS),
    _row("background", _OURS),
    _row("previous_response_id", _OURS),
    _row("conversation", _OURS),
    _row("metadata", idle("the response repeats it")),
    _row("instructions", becomes("messages", "the first, as `system`"), becomes("system")),
    _row("input", becomes("messages"), becomes("messages", "instructions at the head: `system`")),
    _row("tools", becomes("tools")),
    _row("tool_choice", becomes("tool_choice")),
    _row("parallel_tool_calls", becomes("parallel_tool_calls"), becomes("tool_choice")),
    _row("max_tool_calls", lost()),
    _row("max_output_tokens", becomes("max_completion_tokens"), becomes("max_tokens")),
    _row(
        "temperature",
        becomes("temperature", "but for models that take none"),
        becomes("temperature", "at most 1; but for models that take none"),
    ),
    _row("top_p", becomes("top_p", "but for models that take none")),
    _row(
        "top_logprobs",
        refused("This model's provider gives no log probabilities here. Leave top_logprobs out."),
        defaults=(0,),
    ),
    _row(
        "reasoning.effort",
        becomes("reasoning_effort", "as far as the model has it"),
        becomes("output_config.effort", "and `thinking`, as the model has it"),
    ),
    _row(
        "reasoning.summary",
        idle("thinking is shown if the server tells it"),
        becomes("thinking.display", "as the model has it"),
    ),
    _row("reasoning.generate_summary", lost()),
    _row("reasoning.context", lost(), defaults=("auto",)),
    _row("reasoning.mode", lost()),
    _row(
        "text.format",
        becomes("response_format"),
        becomes("output_config.format", "`json_object` is asked for in words"),
        defaults=({"type": "text"},),
    ),
    _row("text.verbosity", becomes("verbosity"), lost(), defaults=("medium",)),
    _row("include", lost(), defaults=(["reasoning.encrypted_content"],)),
    _row(
        "prompt",
        refused("A stored prompt is known to its own provider only. Send its text in input."),
    ),
    _row("truncation", lost("a conversation that is too long is an error"), defaults=("disabled",)),
    _row("context_management", lost("nothing is cut from the conversation")),
    _row("service_tier", becomes("service_tier"), lost(), defaults=("auto", "default")),
    _row("user", becomes("user"), becomes("metadata.user_id")),
    _row("safety_identifier", becomes("safety_identifier"), becomes("metadata.user_id")),
    _row("prompt_cache_key", becomes("prompt_cache_key"), lost("caches are found by content")),
    _row("prompt_cache_options", becomes("prompt_cache_options"), lost()),
    _row("prompt_cache_retention", becomes("prompt_cache_retention"), lost()),
    _row("moderation", lost()),
    _row("access_programs", lost()),
    _row("background_options", lost()),
    _row("image", lost()),
)


def _tool(
    field: str, chat: Fate, messages: Fate | None = None, *, defaults: tuple[Json, ...] = ()
) -> Row:
    return _row(field, chat, messages, place="tool", defaults=defaults)


_TOOLS = (
    _tool(
        "tools.name",
        becomes("name", "a namespace goes before it; shortened if longer than 64 characters"),
    ),
    _tool("tools.description", becomes("description")),
    _tool("tools.parameters", becomes("parameters"), becomes("input_schema")),
    _tool("tools.strict", becomes("strict", "left out, the provider's own default holds")),
    _tool(
        "tools.format",
        becomes("format"),
        lost("the grammar is told in words, and no longer enforced"),
        defaults=({"type": "text"},),
    ),
    _tool("tools.defer_loading", lost("the tool is offered at once")),
    _tool("tools.allowed_callers", lost()),
    _tool("tools.output_schema", lost()),
    _tool("tools.async", lost()),
)


def _element(
    field: str, chat: Fate, messages: Fate | None = None, *, defaults: tuple[Json, ...] = ()
) -> Row:
    return _row(field, chat, messages, place="element", defaults=defaults)


_MARK = becomes("prompt_cache_breakpoint", "for models that have it")

_ELEMENTS = (
    _element("message.phase", lost()),
    _element("input_text", becomes("content"), becomes("text", "but for empty ones")),
    _element("input_text.prompt_cache_breakpoint", _MARK, becomes("cache_control")),
    _element("output_text", becomes("content"), becomes("text")),
    _element("output_text.annotations", lost("the text stays")),
    _element("output_text.logprobs", idle("no provider reads them")),
    _element("refusal", becomes("refusal"), becomes("text")),
    _element("input_image", becomes("image_url"), becomes("image")),
    _element("input_image.detail", becomes("detail"), lost(), defaults=("auto",)),
    _element("input_image.prompt_cache_breakpoint", _MARK, becomes("cache_control")),
    _element(
        "input_image.file_id",
        refused("A file stored at OpenAI cannot be sent there. Send its data or a URL."),
    ),
    _element("input_file", becomes("file"), becomes("document")),
    _element("input_file.prompt_cache_breakpoint", _MARK, becomes("cache_control")),
    _element("input_file.detail", lost()),
    _element(
        "input_file.file_url",
        refused("Chat Completions cannot fetch files. Send its data instead."),
        becomes("document", "its `source`"),
    ),
    _element(
        "input_file.file_id",
        becomes("file_id"),
        refused("A file stored at OpenAI cannot be sent there. Send its data or a URL."),
    ),
    _element("input_audio", becomes("input_audio"), refused("Send a transcript.")),
    _element("function_call", becomes("tool_calls"), becomes("tool_use")),
    _element("custom_tool_call", becomes("tool_calls"), becomes("tool_use", "inside `input`")),
    _element(
        "function_call_output",
        becomes("tool", "images and files follow in a user message"),
        becomes("tool_result"),
    ),
    _element("reasoning", lost("only the provider that wrote it can take it back")),
    _element("web_search_call", lost("known to its own protocol only")),
    _element("compaction", lost("known to its own protocol only")),
    _element("item_reference", lost("known to its own protocol only")),
)


def _answer(field: str, chat: Fate, messages: Fate | None = None) -> Row:
    return _row(field, chat, messages, place="answer")


_ANSWER = (
    _answer("output_text", becomes("content"), becomes("text")),
    _answer("refusal", becomes("refusal"), becomes("stop_details")),
    _answer("reasoning", becomes("reasoning_content"), becomes("thinking", "sealed `signature`")),
    _answer("function_call", becomes("tool_calls"), becomes("tool_use")),
    _answer("custom_tool_call", becomes("tool_calls"), becomes("tool_use", "inside `input`")),
    _answer("annotations", becomes("annotations", "pages only"), lost("the text stays")),
    _answer("logprobs", becomes("logprobs"), lost()),
    _answer("web_search_call", lost("known to its own protocol only")),
    _answer("image_generation_call", lost("known to its own protocol only")),
    _answer("usage", becomes("usage")),
)

ROWS = (*_REQUEST, *_TOOLS, *_ELEMENTS, *_ANSWER)
