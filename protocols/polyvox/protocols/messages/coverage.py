"""What happens to Messages fields over the other protocols; see ``coverage``.

Fields: ``anthropic.types.message_create_params`` (SDK 2.12) and the betas that coding agents use.
"""

from polyvox.protocols.coverage.row import Fate, Place, Row, becomes, idle, lost, refused
from polyvox.workflows.conversation import Json


def _row(
    field: str,
    chat: Fate,
    responses: Fate | None = None,
    *,
    place: Place = "request",
    defaults: tuple[Json, ...] = (),
) -> Row:
    return Row(place, field, {"chat": chat, "responses": responses or chat}, defaults)


_ITS_OWN = lost("run by its own provider only")

_REQUEST = (
    _row("model", idle("the virtual model says which model is asked")),
    _row("stream", idle("Polyvox does it")),
    _row("system", becomes("messages", "the first, as `system`"), becomes("instructions")),
    _row("messages", becomes("messages"), becomes("input")),
    _row("tools", becomes("tools")),
    _row("tool_choice", becomes("tool_choice")),
    _row(
        "max_tokens", becomes("max_completion_tokens"), becomes("max_output_tokens", "at least 16")
    ),
    _row(
        "stop_sequences",
        becomes("stop", "what the model does not take of it, Polyvox does"),
        idle("Polyvox ends the answer there"),
    ),
    _row("temperature", becomes("temperature", "but for models that take none")),
    _row("top_p", becomes("top_p", "but for models that take none")),
    _row("top_k", lost()),
    _row(
        "output_config.effort",
        becomes("reasoning_effort", "as far as the model has it"),
        becomes("reasoning.effort", "as far as the model has it"),
    ),
    _row("output_config.format", becomes("response_format"), becomes("text.format")),
    _row("output_config.task_budget", lost()),
    _row("output_format", becomes("response_format"), becomes("text.format")),
    _row(
        "thinking.type",
        becomes("reasoning_effort", "`none` for `disabled`"),
        becomes("reasoning.effort", "`none` for `disabled`"),
        defaults=("adaptive", "enabled", "between_tools"),
    ),
    _row("thinking.budget_tokens", becomes("reasoning_effort"), becomes("reasoning.effort")),
    _row(
        "thinking.display",
        idle("thinking is shown if the server tells it"),
        becomes("reasoning.summary", "`auto`, unless omitted"),
        defaults=("omitted",),
    ),
    _row("thinking.block_binding", lost()),
    _row(
        "metadata.user_id",
        becomes("user", "a digest of one longer than 64 characters"),
        becomes("safety_identifier", "a digest of one longer than 64 characters"),
    ),
    _row(
        "service_tier",
        becomes("service_tier", "`default` for `standard_only`"),
        defaults=("auto",),
    ),
    _row("speed", lost(), defaults=("standard",)),
    _row("cache_control", idle("caching is automatic there")),
    _row(
        "inference_geo",
        refused("This model's provider cannot promise where it runs. Leave inference_geo out."),
        defaults=("global",),
    ),
    _row("context_management", lost("nothing is cut from the conversation")),
    _row("container", lost()),
    _row("mcp_servers", _ITS_OWN),
    _row("diagnostics", lost()),
    _row("user_profile_id", lost()),
    _row("workspace_id", lost()),
    _row("safeguards", lost()),
)


def _tool(field: str, chat: Fate, responses: Fate | None = None) -> Row:
    return _row(field, chat, responses, place="tool")


_TOOLS = (
    _tool("tools.name", becomes("name", "one longer than 64 characters is shortened there")),
    _tool("tools.description", becomes("description")),
    _tool("tools.input_schema", becomes("parameters")),
    _tool("tools.strict", becomes("strict")),
    _tool("tools.cache_control", lost("caching is automatic there")),
    _tool("tools.input_examples", lost()),
    _tool("tools.eager_input_streaming", idle("arguments are streamed there anyway")),
    _tool("tools.defer_loading", lost("the tool is offered at once")),
    _tool("tools.allowed_callers", lost()),
)


def _element(field: str, chat: Fate, responses: Fate | None = None) -> Row:
    return _row(field, chat, responses, place="element")


_MARK = becomes("prompt_cache_breakpoint", "for models that have it")
_STORED = refused("A file stored at Anthropic cannot be sent there. Send its data or a URL.")
_CALLER = idle("it says that the model itself called")
_NO_PLACE = lost("only contents can be marked there")

_ELEMENTS = (
    _element(
        "message.prefill",
        refused("An answer cannot be begun for the model. End with a user message."),
    ),
    _element("text", becomes("content"), becomes("input_text")),
    _element("text.cache_control", _MARK),
    _element("text.citations", lost("the text stays")),
    _element("image", becomes("image_url"), becomes("input_image")),
    _element("image.cache_control", _MARK),
    _element("image.transformations", lost()),
    _element("image.file_id", _STORED),
    _element("document", becomes("file"), becomes("input_file")),
    _element("document.cache_control", _MARK),
    _element("document.context", lost()),
    _element("document.citations", lost()),
    _element(
        "document.url",
        refused("Chat Completions cannot fetch files. Send its data instead."),
        becomes("file_url"),
    ),
    _element("document.file_id", _STORED),
    _element("search_result", becomes("content"), becomes("input_text")),
    _element("search_result.citations", lost()),
    _element("search_result.cache_control", _MARK),
    _element("tool_use", becomes("tool_calls"), becomes("function_call")),
    _element("tool_use.caller", _CALLER),
    _element("tool_use.toolset_name", lost()),
    _element("tool_use.cache_control", _NO_PLACE),
    _element(
        "tool_result",
        becomes("tool", "images and files follow in a user message"),
        becomes("function_call_output"),
    ),
    _element(
        "tool_result.is_error",
        becomes("content", "it begins with `Error:`"),
        becomes("output", "it begins with `Error:`"),
    ),
    _element("tool_result.cache_control", _NO_PLACE),
    _element("thinking", lost("only the provider that wrote it can take it back")),
    _element("redacted_thinking", lost("only the provider that wrote it can take it back")),
    _element("server_tool_use", lost("known to its own protocol only")),
    _element("web_search_tool_result", lost("known to its own protocol only")),
    _element("tool_reference", becomes("content", "as words"), becomes("output", "as words")),
    _element("container_upload", lost("known to its own protocol only")),
    _element("tool_addition", lost("every tool of the request is offered from the start")),
    _element("tool_removal", lost("every tool of the request stays offered")),
)


def _answer(field: str, chat: Fate, responses: Fate | None = None) -> Row:
    return _row(field, chat, responses, place="answer")


_ANSWER = (
    _answer("text", becomes("content"), becomes("output_text")),
    _answer("thinking", becomes("reasoning_content", "sealed"), becomes("reasoning", "sealed")),
    _answer("redacted_thinking", becomes("reasoning_details"), becomes("reasoning", "sealed")),
    _answer("tool_use", becomes("tool_calls"), becomes("function_call")),
    _answer("citations", becomes("annotations", "pages only"), becomes("annotations")),
    _answer("stop_details", becomes("refusal")),
    _answer("stop_sequence", becomes("finish_reason"), becomes("status")),
    _answer("server_tool_use", lost("known to its own protocol only")),
    _answer("web_search_tool_result", lost("known to its own protocol only")),
    _answer("usage", becomes("usage")),
)

ROWS = (*_REQUEST, *_TOOLS, *_ELEMENTS, *_ANSWER)
