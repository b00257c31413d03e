"""For every ``element`` row of the coverage table the messages, or input items, that have it."""

from typing import Final

from polyvox.workflows.conversation import Json, Protocol

PIXEL: Final = "iVBORw0KGgo="
PICTURE: Final = f"data:image/png;base64,{PIXEL}"
PDF: Final = "JVBERi0xLjQKJUVPRgo="
DOCUMENT: Final = f"data:application/pdf;base64,{PDF}"
URL: Final = "https://example.com/report.pdf"


def user(protocol: Protocol, *content: Json) -> Json:
    return {"role": "user", "content": list(content) or "Hello."}


_BREAK: Final = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}
_MARK: Final = {"cache_control": {"type": "ephemeral", "ttl": "5m"}}
_CITED: Final = {
    "type": "char_location",
    "cited_text": "a",
    "document_index": 0,
    "document_title": "t",
    "start_char_index": 0,
    "end_char_index": 1,
}


def _chat_part(kind: str, **said: Json) -> list[Json]:
    return [user("chat", {"type": kind, **said})]


def _chat_turn(**said: Json) -> list[Json]:
    return [user("chat"), {"role": "assistant", "content": "Yes.", **said}, user("chat")]


def _chat_call(kind: str, **said: Json) -> list[Json]:
    call = {"id": "call_1", "type": kind, kind: {"name": "look", **said}}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "A harbour."}
    return [*_chat_turn(tool_calls=[call])[:2], result]


def _item(**said: Json) -> list[Json]:
    return [user("responses"), said, user("responses")]


def _input(**part: Json) -> list[Json]:
    return [user("responses", part)]


def _output(**said: Json) -> list[Json]:
    part = {"type": "output_text", "text": "Yes.", **said}
    return _item(type="message", role="assistant", content=[part])


def _custom_and_result() -> list[Json]:
    call = {"type": "custom_tool_call", "call_id": "call_1", "name": "look", "input": "sea"}
    result = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "A harbour."}
    return [user("responses"), call, result]


def _call_and_result() -> list[Json]:
    call = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "call_1", "output": "A harbour."}
    return [user("responses"), call, result]


def _block(**said: Json) -> list[Json]:
    return [user("messages", said)]


def _tool_change(kind: str) -> list[Json]:
    change = {"type": kind, "tool": {"type": "tool_reference", "name": "look"}}
    return [user("messages"), {"role": "system", "content": [change]}]


def _answered(*blocks: Json) -> list[Json]:
    return [
        user("messages"),
        {"role": "assistant", "content": list(blocks)},
        user("messages"),
    ]


def _used(use: Json | None = None, result: Json | None = None) -> list[Json]:
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}, **(use or {})}
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Fog.", **(result or {})}
    return [
        user("messages"),
        {"role": "assistant", "content": [call]},
        user("messages", answer),
    ]


def _image(**said: Json) -> list[Json]:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    return _block(**{"type": "image", "source": source, **said})


def _document(**said: Json) -> list[Json]:
    source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
    return _block(**{"type": "document", "source": source, "title": "Report", **said})


def _found(**said: Json) -> list[Json]:
    content = [{"type": "text", "text": "Fog."}]
    block = {"type": "search_result", "title": "Sea", "source": "https://example.com", **said}
    return _block(content=content, **block)


ELEMENTS: Final[dict[Protocol, dict[str, list[Json]]]] = {
    "chat": {
        "message.name": [{**user("chat"), "name": "Ann"}],
        "message.annotations": _chat_turn(annotations=[{"type": "url_citation"}]),
        "text": _chat_part("text", text="Hi."),
        "text.prompt_cache_breakpoint": _chat_part("text", text="Hi.", **_BREAK),
        "refusal": _chat_turn(refusal="I cannot."),
        "image_url": _chat_part("image_url", image_url={"url": PICTURE}),
        "image_url.detail": _chat_part("image_url", image_url={"url": PICTURE, "detail": "low"}),
        "image_url.prompt_cache_breakpoint": _chat_part(
            "image_url", image_url={"url": PICTURE}, **_BREAK
        ),
        "file": _chat_part("file", file={"file_data": DOCUMENT, "filename": "a.pdf"}),
        "file.prompt_cache_breakpoint": _chat_part(
            "file", file={"file_data": DOCUMENT, "filename": "a.pdf"}, **_BREAK
        ),
        "file.file_id": _chat_part("file", file={"file_id": "file_1"}),
        "input_audio": _chat_part("input_audio", input_audio={"data": "AAAA", "format": "wav"}),
        "function": _chat_call("function", arguments="{}"),
        "custom": _chat_call("custom", input="sea"),
        "tool": _chat_call("function", arguments="{}"),
        "reasoning": _chat_turn(reasoning_content="Hm."),
        "audio": _chat_turn(audio={"id": "audio_1"}),
    },
    "responses": {
        "message.phase": _item(
            type="message", role="assistant", content="Yes.", phase="commentary"
        ),
        "input_text": _input(type="input_text", text="Hi."),
        "input_text.prompt_cache_breakpoint": _input(type="input_text", text="Hi.", **_BREAK),
        "output_text": _output(),
        "output_text.annotations": _output(annotations=[{"type": "file_path", "file_id": "f"}]),
        "output_text.logprobs": _output(logprobs=[{"token": "Yes", "logprob": -0.1, "bytes": []}]),
        "refusal": _item(
            type="message", role="assistant", content=[{"type": "refusal", "refusal": "No."}]
        ),
        "input_image": _input(type="input_image", image_url=PICTURE),
        "input_image.detail": _input(type="input_image", image_url=PICTURE, detail="low"),
        "input_image.prompt_cache_breakpoint": _input(
            type="input_image", image_url=PICTURE, **_BREAK
        ),
        "input_image.file_id": _input(type="input_image", file_id="file_1"),
        "input_file": _input(type="input_file", file_data=DOCUMENT, filename="a.pdf"),
        "input_file.prompt_cache_breakpoint": _input(
            type="input_file", file_data=DOCUMENT, filename="a.pdf", **_BREAK
        ),
        "input_file.detail": _input(
            type="input_file", file_data=DOCUMENT, filename="a.pdf", detail="low"
        ),
        "input_file.file_url": _input(type="input_file", file_url=URL),
        "input_file.file_id": _input(type="input_file", file_id="file_1"),
        "input_audio": _input(type="input_audio", input_audio={"data": "AAAA", "format": "wav"}),
        "function_call": _call_and_result(),
        "custom_tool_call": _custom_and_result(),
        "function_call_output": _call_and_result(),
        "reasoning": _item(type="reasoning", id="rs_1", summary=[], encrypted_content="secret"),
        "web_search_call": _item(type="web_search_call", id="ws_1", status="completed"),
        "compaction": _item(type="compaction", id="cmp_1", encrypted_content="secret"),
        "item_reference": _item(type="item_reference", id="msg_1"),
    },
    "messages": {
        "message.prefill": _answered({"type": "text", "text": "The answer is ("})[:2],
        "text": _block(type="text", text="Hi."),
        "text.cache_control": _block(type="text", text="Hi.", **_MARK),
        "text.citations": _answered({"type": "text", "text": "Yes.", "citations": [_CITED]}),
        "image": _image(),
        "image.cache_control": _image(**_MARK),
        "image.transformations": _image(transformations={"oversized_image": "error"}),
        "image.file_id": _image(source={"type": "file", "file_id": "file_1"}),
        "document": _document(),
        "document.cache_control": _document(**_MARK),
        "document.context": _document(context="The last one."),
        "document.citations": _document(citations={"enabled": True}),
        "document.url": _document(source={"type": "url", "url": URL}),
        "document.file_id": _document(source={"type": "file", "file_id": "file_1"}),
        "search_result": _found(),
        "search_result.citations": _found(citations={"enabled": True}),
        "search_result.cache_control": _found(**_MARK),
        "tool_use": _used(),
        "tool_use.caller": _used(use={"caller": {"type": "direct"}}),
        "tool_use.toolset_name": _used(use={"toolset_name": "browser"}),
        "tool_use.cache_control": _used(use=_MARK),
        "tool_result": _used(),
        "tool_result.is_error": _used(result={"is_error": True}),
        "tool_result.cache_control": _used(result=_MARK),
        "thinking": _answered(
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "text", "text": "Yes."},
        ),
        "redacted_thinking": _answered(
            {"type": "redacted_thinking", "data": "d"}, {"type": "text", "text": "Yes."}
        ),
        "server_tool_use": _answered(
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
        ),
        "web_search_tool_result": _answered(
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
        ),
        "tool_reference": _used(
            result={"content": [{"type": "tool_reference", "tool_name": "look"}]}
        ),
        "container_upload": _block(type="container_upload", file_id="file_1"),
        "tool_addition": _tool_change("tool_addition"),
        "tool_removal": _tool_change("tool_removal"),
    },
}
