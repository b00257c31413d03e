from typing import Any

import orjson
import pytest
from hypothesis import given

from polyvox.protocols.messages.client import request as front
from polyvox.protocols.messages.provider import request as messages
from polyvox.workflows.conversation import (
    Conversation,
    Options,
    Tool,
    ToolChoice,
    Wire,
    user,
)
from tests.samples.messages import conversations


@given(conversations)
def test_a_provider_s_request_is_a_front_s_request(conversation: Conversation) -> None:
    """The pair of front and provider is inverse: parse(render(c)) == c."""
    rendered = messages.render(conversation, "a-model")
    ask = front.parse(orjson.loads(orjson.dumps(rendered.body)), {})
    expected = conversation.with_options(max_tokens=messages.DEFAULT_MAX_TOKENS)
    assert ask.conversation == expected
    assert (ask.model, ask.stream) == ("a-model", True)
    assert not rendered.losses


def asking(headers: dict[str, str] | None = None, **options: Any) -> Conversation:
    return Conversation(
        (user("hi"),), options=Options(**options), headers=tuple((headers or {}).items())
    )


@pytest.mark.parametrize(
    ("conversation", "model", "version"),
    [
        (asking(), "claude-opus-4-8", "2026-10-21"),
        (asking(temperature=0.2), "claude-sonnet-4-5", "2023-06-01"),
        (asking(top_p=0.2), "not-a-claude", "2023-06-01"),
        (asking(temperature=0.2), "claude-opus-4-8", "2026-10-21"),
        (asking({"anthropic-version": "2023-06-01"}), "claude-opus-4-8", "2023-06-01"),
        (asking({"anthropic-version": "2026-10-21"}, top_k=1), "m", "2026-10-21"),
    ],
)
def test_the_api_version_fits_the_sampling(
    conversation: Conversation, model: str, version: str
) -> None:
    """The newest version refuses sampling fields, and so do the newest models."""
    rendered = messages.render(conversation, model)
    assert rendered.headers["anthropic-version"] == version
    samples = {"temperature", "top_p", "top_k"} & set(rendered.body)
    assert bool(samples) == (
        version == "2023-06-01" and "anthropic-version" not in dict(conversation.headers)
    )
    assert bool(rendered.losses) == (not samples and conversation.options != Options())


def test_only_this_protocol_s_headers_go_out() -> None:
    conversation = asking({"anthropic-beta": "a,b", "openai-beta": "x"})
    rendered = messages.render(conversation, "claude-opus-4-8")
    assert rendered.headers == {"anthropic-beta": "a,b", "anthropic-version": "2026-10-21"}
    assert rendered.path == "messages"


def test_a_client_s_own_thinking_and_sampling_are_never_fitted() -> None:
    """The provider judges what the client itself worded."""
    said = {
        "max_tokens": 3000,
        "temperature": 0.3,
        "thinking": {"type": "adaptive"},
        "tool_choice": {"type": "any"},
    }
    tool = {"name": "f", "input_schema": {"type": "object"}}
    body = {"model": "v", "messages": [{"role": "user", "content": "x"}], "tools": [tool], **said}
    ask = front.parse({**body, "stream": True}, {"anthropic-version": "2026-10-21"})
    rendered = messages.render(ask.conversation, "claude-3-haiku")
    assert rendered.body == {**body, "model": "claude-3-haiku", "stream": True}
    assert not rendered.losses


def test_a_choice_of_a_tool_that_is_not_offered_is_dropped_by_name() -> None:
    """Server tools of other vendors go, and a choice that names one would be refused."""
    server = Tool("web_search", kind="server", wire=Wire("chat", {}))
    choice = ToolChoice("tool", "web_search")
    rendered = messages.render(asking(tool_choice=choice).offering([server]), "claude-opus-4-8")
    assert not {"tools", "tool_choice"} & set(rendered.body)
    assert [loss.partition(":")[0] for loss in rendered.losses] == [
        "tools.web_search",
        "tool_choice",
    ]
