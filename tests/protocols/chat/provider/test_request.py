"""The Chat Completions dialect of providers."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from polyvox.protocols.chat.provider import request as chat
from polyvox.workflows.conversation import (
    Conversation,
    Options,
    Tool,
    ToolChoice,
    Wire,
    user,
)
from polyvox.workflows.errors import ErrorKind

FIXTURES = Path(__file__).parents[3] / "fixtures" / "chat"
ERRORS = json.loads((FIXTURES / "errors.json").read_text("utf-8"))


def test_a_request_always_asks_for_a_stream_with_usage() -> None:
    """Whatever the client wanted, and with every field it sent."""
    document = {"stream_options": {"include_obfuscation": False}, "seed": 7, "logit_bias": None}
    options = Options(wire=Wire("chat", document))
    conversation = Conversation((user("hi"),), options=options, headers=(("openai-beta", "x"),))
    rendered = chat.render(conversation, "m-1")
    assert (rendered.path, rendered.headers) == ("chat/completions", {"openai-beta": "x"})
    assert rendered.body == {
        "model": "m-1",
        "messages": [{"role": "user", "content": "hi"}],
        "seed": 7,
        "logit_bias": None,
        "stream": True,
        "stream_options": {"include_obfuscation": False, "include_usage": True},
    }


def test_headers_of_another_protocol_stay_behind() -> None:
    """They mean nothing here."""
    options = Options(wire=Wire("messages", {"max_tokens": 5}))
    headers = (("anthropic-version", "2023-06-01"),)
    conversation = Conversation((user("hi"),), options=options, headers=headers)
    assert chat.render(conversation, "m").headers == {}


def test_no_choice_is_made_among_tools_that_are_not_offered() -> None:
    """OpenAI refuses tool_choice without tools, and a choice of a missing tool."""
    search = Tool("web_search", kind="server", wire=Wire("responses", {"type": "web_search"}))
    forced = Options(tool_choice=ToolChoice("tool", "web_search"), parallel_tool_calls=True)
    alone = chat.render(Conversation((user("x"),), tools=(search,), options=forced), "m")
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & alone.body.keys()
    both = chat.render(Conversation((user("x"),), tools=(search, Tool("f")), options=forced), "m")
    assert both.body["tool_choice"] == "auto"
    assert "tool_choice: its tool is not offered" in both.losses


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error["body"]["error"]["code"]))
def test_a_recorded_error_keeps_its_words(error: Any) -> None:
    """Message, code and parameter are the provider's own."""
    said = error["body"]["error"]
    read = chat.parse_error(error["status"], {}, orjson.dumps(error["body"]))
    assert (read.message, read.code, read.param) == (said["message"], said["code"], said["param"])
    assert read.http_status == error["status"]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, "context_length"),
        (400, {"message": "This model's maximum context length is 8 tokens"}, "context_length"),
        (400, [{"error": {"message": "x", "code": 400}}], "invalid_request"),
        (401, {"error": {"message": "x", "code": "invalid_api_key"}}, "provider_authentication"),
        (404, {"error": {"message": "x", "code": "model_not_found"}}, "model_not_found"),
        (422, {"detail": [{"msg": "x"}]}, "unprocessable"),
        (429, {"error": {"message": "x", "code": "insufficient_quota"}}, "quota"),
        (429, {"error": "slow down"}, "rate_limit"),
        (500, {}, "provider_error"),
        (503, {"error": {"message": "x"}}, "overloaded"),
    ],
)
def test_an_error_answer_gets_its_kind(status: int, body: Any, kind: ErrorKind) -> None:
    """By the provider's word, else by status."""
    read = chat.parse_error(status, {"retry-after": "2"}, orjson.dumps(body))
    assert (read.kind, read.retry_after_s) == (kind, 2.0)
    assert read.message


def test_an_error_page_is_an_error_too() -> None:
    """A proxy in between answers in HTML, or breaks off."""
    assert chat.parse_error(502, {}, b"<html>bad gateway</html>").kind == "provider_error"
    assert chat.parse_error(502, {}, b"[").kind == "provider_error"
