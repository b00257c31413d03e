"""Validates requests by the documented rules of each provider's API, as strictly as they do.

Sources: the API references of OpenAI (Chat Completions, Responses) and Anthropic (Messages), and
the messages of their 400 errors, as of November 2026. Each function raises AssertionError.
"""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from polyvox.workflows.conversation import Json, Protocol

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MESSAGES_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_MESSAGES_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_BEGINNINGS: Final = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
_COMBINED: Final = ("anyOf", "oneOf", "allOf")


def check_request(protocol: Protocol, body: Json, *, own_names: bool = False) -> None:
    """Validate the request ``body``; with ``own_names`` the client chose the names of tools."""
    checks: dict[Protocol, Callable[[Json, bool], None]] = {
        "chat": _check_chat,
        "responses": _check_responses,
        "messages": _check_messages,
    }
    checks[protocol](orjson.loads(orjson.dumps(body)), own_names)


def _check_names(names: Sequence[str], allowed: re.Pattern[str], own: bool) -> None:
    assert len(set(names)) == len(names), "tool names must be unique"
    for name in names:
        assert own or allowed.fullmatch(name), f"{name!r} does not match {allowed.pattern}"


def _check_chat(body: Json, own_names: bool) -> None:
    messages = body["messages"]
    assert messages
    _check_names([tool["function"]["name"] for tool in body.get("tools", ())], _NAME, own_names)
    ids: list[str] = []
    at = 0
    while at < len(messages):
        message = messages[at]
        at += 1
        assert message["role"] != "tool", "a tool message must follow its tool_calls"
        content, calls = message.get("content"), message.get("tool_calls")
        if message["role"] != "assistant":
            assert content is not None
            assert calls is None
            continue
        assert content is not None or calls or message.get("refusal")
        if calls is None:
            continue
        assert calls, "tool_calls must not be empty"
        wanted = []
        for call in calls:
            assert call["type"] == "function"
            assert isinstance(call["id"], str)
            assert call["id"]
            assert own_names or _NAME.fullmatch(call["function"]["name"])
            assert isinstance(orjson.loads(call["function"]["arguments"]), dict)
            wanted.append(call["id"])
        answers = messages[at : at + len(wanted)]
        assert all(m["role"] == "tool" for m in answers), "tool messages must follow tool_calls"
        assert sorted(m["tool_call_id"] for m in answers) == sorted(wanted)
        assert all(isinstance(m["content"], str | list) for m in answers)
        ids += wanted
        at += len(wanted)
    assert len(set(ids)) == len(ids), "ids of calls must be unique"


def _check_responses(body: Json, own_names: bool) -> None:
    items = body["input"]
    _check_names([tool["name"] for tool in body.get("tools", ())], _NAME, own_names)
    ids: list[str] = []
    waiting: list[str] = []
    answering = False
    for item in items:
        match item.get("type", "message"):
            case "function_call":
                assert not (answering and waiting), "a call before the results of the last reply"
                answering = False
                assert isinstance(item["call_id"], str)
                assert 1 <= len(item["call_id"]) <= 64
                assert isinstance(orjson.loads(item["arguments"]), dict)
                assert own_names or _NAME.fullmatch(item["name"])
                ids.append(item["call_id"])
                waiting.append(item["call_id"])
            case "function_call_output":
                answering = True
                assert item["call_id"] in waiting, "No tool call found for function call output"
                waiting.remove(item["call_id"])
                assert isinstance(item["output"], str | list)
            case "message":
                assert item["content"]
                if item["role"] != "assistant":
                    assert not waiting, "results must follow their reply"
    assert not waiting, "No tool output found for function call"
    assert len(set(ids)) == len(ids), "ids of calls must be unique"


def _check_messages(body: Json, own_names: bool) -> None:
    tools = body.get("tools", ())
    _check_names([tool["name"] for tool in tools], _MESSAGES_NAME, own_names)
    for tool in tools:
        schema = tool["input_schema"]
        assert schema["type"] == "object"
        assert not any(name in schema for name in _COMBINED), "anyOf at the root"
    turns = _merged(body["messages"])
    assert turns[0]["role"] == "user"
    assert turns[-1]["role"] == "user", "The conversation must end with a user message"
    ids: list[str] = []
    waiting: list[str] = []
    for turn in turns:
        assert turn["content"]
        kinds = [block["type"] for block in turn["content"]]
        results = [block for block in turn["content"] if block["type"] == "tool_result"]
        assert kinds[: len(results)] == ["tool_result"] * len(results), "results come first"
        assert turn["role"] == "user" or not results
        assert [block["tool_use_id"] for block in results if block] == [
            block["tool_use_id"] for block in results if block["tool_use_id"] in waiting
        ], "unexpected tool_use_id"
        found = sorted(block["tool_use_id"] for block in results)
        assert found == sorted(waiting), "tool_use without tool_result immediately after"
        waiting = []
        for block in turn["content"]:
            _check_block(block)
            if block["type"] == "tool_use":
                assert turn["role"] == "assistant"
                assert own_names or _MESSAGES_NAME.fullmatch(block["name"])
                waiting.append(block["id"])
                ids.append(block["id"])
    assert not waiting
    assert len(set(ids)) == len(ids), "tool_use ids must be unique"


def _merged(messages: list[Json]) -> list[Json]:
    """Return the turns: the API combines messages of one role in a row."""
    turns: list[Json] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        role = "user" if message["role"] == "system" else message["role"]
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": [*blocks]})
    return turns


def _check_block(block: dict[str, Any]) -> None:
    match block["type"]:
        case "text":
            assert block["text"].strip(), "text content blocks must be non-empty"
        case "tool_use":
            assert _MESSAGES_ID.fullmatch(block["id"])
            assert isinstance(block["input"], dict)
        case "tool_result":
            content = block.get("content", "")
            for inner in content if isinstance(content, list) else ():
                _check_block(inner)
        case "image" if block["source"]["type"] == "base64":
            kind = block["source"]["media_type"]
            assert kind in _IMAGES
            head = base64.b64decode(block["source"]["data"])[:4]
            real = next((k for b, k in _BEGINNINGS.items() if head.startswith(b)), kind)
            assert kind == real, f"the image is {real}, not {kind}"
