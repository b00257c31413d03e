"""A Messages request is adapted to the server and the model that get it."""

from dataclasses import replace
from typing import Any

import pytest

from polyvox.protocols.dialects.dialect import FULL
from polyvox.protocols.dialects.servers import SERVERS
from polyvox.protocols.messages.provider import request as messages
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Options,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Wire,
    user,
)
from tests.samples.codex_request import dialect_named

HISTORY = (
    user("Go."),
    Message("assistant", (Text("Well."),)),
    user("On."),
    Message("assistant", (Text("I look."), ToolCall("c1", "f", "{}"))),
    Message("tool", (ToolResult("c1", (Text("1"),)),)),
)


def parsed(protocol: str, **fields: Any) -> Conversation:
    said = [{"role": "user", "content": "Hi"}]
    place = {"input": said} if protocol == "responses" else {"messages": said, "max_tokens": 500}
    return PROTOCOLS[protocol].parser.parse({"model": "m", **place, **fields}, {}).conversation


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "model",
    [
        "claude-opus-4-1-20250805",
        "claude-sonnet-4-5",
        "claude-haiku-4-5-20251001",
        "us.anthropic.claude-opus-4-6-v1:0",
    ],
)
def test_a_model_that_takes_one_sampler_gets_the_temperature(protocol: str, model: str) -> None:
    """Whoever sent both: the API answers 400 to them."""
    rendered = messages.render(parsed(protocol, temperature=0.2, top_p=0.9), model)
    assert (rendered.body["temperature"], rendered.body.get("top_p")) == (0.2, None)
    assert [loss for loss in rendered.losses if loss.startswith("top_p: ")]


@pytest.mark.parametrize(
    ("temperature", "top_p", "kept"), [(1, 0.9, "top_p"), (1, 1, "temperature")]
)
def test_a_sampler_at_its_default_is_left_out_without_a_loss(
    temperature: float, top_p: float, kept: str
) -> None:
    conversation = parsed("chat", temperature=temperature, top_p=top_p)
    rendered = messages.render(conversation, "claude-sonnet-4-5")
    assert {"temperature", "top_p"} & rendered.body.keys() == {kept}
    assert rendered.losses == ()


@pytest.mark.parametrize("model", ["claude-3-5-sonnet-latest", "claude-opus-4-20250514", "any"])
def test_a_model_that_takes_both_samplers_gets_both(model: str) -> None:
    body = messages.render(parsed("messages", temperature=0.2, top_p=0.9), model).body
    assert (body["temperature"], body["top_p"]) == (0.2, 0.9)


def test_a_choice_of_a_tool_that_was_left_out_becomes_auto() -> None:
    search = Tool("web_search", kind="server", wire=Wire("responses", {"type": "web_search"}))
    options = Options(tool_choice=ToolChoice("tool", "web_search"), parallel_tool_calls=False)
    both = Conversation((user("x"),), tools=(search, Tool("f")), options=options)
    rendered = messages.render(both, "claude-opus-4-8")
    assert rendered.body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "tool_choice: its tool is not offered" in rendered.losses
    alone = messages.render(replace(both, tools=(search,)), "claude-opus-4-8")
    assert "tool_choice" not in alone.body
    assert "tool_choice: its tool is not offered" in alone.losses


@pytest.mark.parametrize(
    ("name", "model", "where"),
    [
        ("deepseek", "deepseek-v4-pro", [1, 3]),
        ("moonshot", "kimi-k2.6", [3]),
        ("unknown", "moonshotai/kimi-k2-thinking", [3]),
        ("anthropic", "claude-opus-4-8", []),
        ("unknown", "glm-5", []),
    ],
)
def test_thoughts_that_no_model_had_are_a_placeholder(
    name: str, model: str, where: list[int]
) -> None:
    dialect = dialect_named(name)
    said = messages.render(Conversation(HISTORY), model, dialect).body["messages"]
    thinking = {"type": "thinking", "thinking": " ", "signature": ""}
    assert [at for at, turn in enumerate(said) if thinking in turn["content"]] == where
    assert all(said[at]["content"][0] == thinking for at in where)


def test_no_placeholder_is_sent_while_thinking_is_off() -> None:
    conversation = Conversation(HISTORY, options=Options(effort="none"))
    body = messages.render(conversation, "deepseek-v4-pro", SERVERS["deepseek"].dialect).body
    assert body["thinking"] == {"type": "disabled"}
    assert all(b["type"] != "thinking" for turn in body["messages"] for b in turn["content"])


def test_a_messages_client_gets_the_placeholder_too_and_keeps_its_own_thoughts() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    call = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "1"}
    for blocks, first in (([call], " "), ([thought, call], "Hm.")):
        document = {
            "model": "m",
            "max_tokens": 500,
            "messages": [
                {"role": "user", "content": "Go."},
                {"role": "assistant", "content": blocks},
                {"role": "user", "content": [result]},
            ],
        }
        conversation = PROTOCOLS["messages"].parser.parse(document, {}).conversation
        body = messages.render(conversation, "kimi-k2.6", SERVERS["moonshot"].dialect).body
        assert [b["type"] for b in body["messages"][1]["content"]] == ["thinking", "tool_use"]
        assert body["messages"][1]["content"][0]["thinking"] == first
        assert (
            messages.render(conversation, "claude-opus-4-8", FULL).body["messages"]
            == (document["messages"])
        )


@pytest.mark.parametrize(
    ("name", "model", "thinking"),
    [
        ("unknown", "glm-5", {"type": "enabled", "budget_tokens": 24_576}),
        ("deepseek", "deepseek-v4-pro", {"type": "enabled", "budget_tokens": 24_576}),
        ("unknown", "claude-opus-4-8", {"type": "adaptive"}),
        ("polyvox", "main", {"type": "adaptive"}),
    ],
)
def test_another_vendors_model_gets_a_budget(name: str, model: str, thinking: Json) -> None:
    """Adaptive thinking is Claude's; every server of Messages knows a budget."""
    conversation = Conversation((user("Hi"),), options=Options(effort="high"))
    body = messages.render(conversation, model, dialect_named(name)).body
    assert body["thinking"] == thinking
    assert ("output_config" in body) is (thinking["type"] == "adaptive")
