"""A whole answer for every ``answer`` row of the coverage table."""

from typing import Final

from polyvox.workflows.conversation import Json, Protocol

_TOKEN: Final = {"token": "Yes", "logprob": -0.1, "bytes": [89], "top_logprobs": []}
_CHAT_USAGE: Final = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
_USAGE: Final = {"input_tokens": 3, "output_tokens": 2}


def _chat(*, choice: Json = None, finish: str = "stop", **message: Json) -> Json:
    said = {"role": "assistant", "content": "Yes.", **message}
    chosen = {"index": 0, "message": said, "finish_reason": finish, **(choice or {})}
    return {"id": "c", "model": "m", "created": 1, "choices": [chosen], "usage": _CHAT_USAGE}


def _responses(*output: Json) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "model": "m",
        "status": "completed",
        "output": list(output),
        "usage": {**_USAGE, "total_tokens": 5},
    }


def _item(**part: Json) -> Json:
    said = {"type": "output_text", "text": "Yes.", "annotations": [], "logprobs": [], **part}
    return _message(said)


def _message(*content: Json) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": list(content),
    }


def _messages(*content: Json, **said: Json) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _USAGE,
        **said,
    }


_PAGE: Final = {"url": "https://example.com", "title": "Sea", "start_index": 0, "end_index": 3}
_FOUND: Final = {
    "type": "web_search_result_location",
    "url": "https://example.com",
    "title": "Sea",
    "cited_text": "a",
    "encrypted_index": "x",
}
_CALL: Final = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_TEXT: Final = {"type": "text", "text": "Yes."}

ANSWERS: Final[dict[Protocol, dict[str, Json]]] = {
    "chat": {
        "content": _chat(),
        "refusal": _chat(content=None, refusal="No."),
        "reasoning_content": _chat(reasoning_content="Hm."),
        "tool_calls": _chat(tool_calls=[_CALL], finish="tool_calls"),
        "annotations": _chat(annotations=[{"type": "url_citation", "url_citation": _PAGE}]),
        "logprobs": _chat(choice={"logprobs": {"content": [_TOKEN]}}),
        "audio": _chat(audio={"id": "audio_1", "data": "AAAA", "expires_at": 1, "transcript": ""}),
        "images": _chat(images=[{"type": "image_url", "image_url": {"url": "data:,"}}]),
        "usage": _chat(),
    },
    "responses": {
        "output_text": _responses(_item()),
        "refusal": _responses(_message({"type": "refusal", "refusal": "No."})),
        "reasoning": _responses(
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]}
        ),
        "function_call": _responses(
            {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}"}
        ),
        "custom_tool_call": _responses(
            {"type": "custom_tool_call", "id": "ct", "call_id": "c", "name": "f", "input": "x"}
        ),
        "annotations": _responses(_item(annotations=[{"type": "url_citation", **_PAGE}])),
        "logprobs": _responses(_item(logprobs=[_TOKEN])),
        "web_search_call": _responses(
            {"type": "web_search_call", "id": "ws_1", "status": "completed"}
        ),
        "image_generation_call": _responses(
            {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "A"}
        ),
        "usage": _responses(_item()),
    },
    "messages": {
        "text": _messages(_TEXT),
        "thinking": _messages({"type": "thinking", "thinking": "Hm.", "signature": "s"}, _TEXT),
        "redacted_thinking": _messages({"type": "redacted_thinking", "data": "d"}, _TEXT),
        "tool_use": _messages(
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}, stop_reason="tool_use"
        ),
        "citations": _messages({**_TEXT, "citations": [_FOUND]}),
        "stop_details": _messages(
            stop_reason="refusal", stop_details={"type": "refusal", "explanation": "No."}
        ),
        "stop_sequence": _messages(_TEXT, stop_reason="stop_sequence", stop_sequence="END"),
        "server_tool_use": _messages(
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
        ),
        "web_search_tool_result": _messages(
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
        ),
        "usage": _messages(_TEXT),
    },
}
