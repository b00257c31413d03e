from typing import Any

import pytest

from polyvox.protocols.messages.client import request as front
from polyvox.protocols.messages.provider import request as messages
from polyvox.protocols.messages.provider.model_capabilities import generation, takes_system_turns
from polyvox.protocols.sealed_reasoning import seal
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Options,
    OutputFormat,
    Text,
    Tool,
    ToolChoice,
    user,
)


def asking(headers: dict[str, str] | None = None, **options: Any) -> Conversation:
    return Conversation(
        (user("hi"),), options=Options(**options), headers=tuple((headers or {}).items())
    )


@pytest.mark.parametrize(
    ("model", "options", "thinking", "effort", "lost"),
    [
        ("claude-opus-4-8", {"effort": "xhigh"}, {"type": "adaptive"}, "xhigh", []),
        (
            "claude-sonnet-4-5",
            {"effort": "medium"},
            {"type": "enabled", "budget_tokens": 8192},
            None,
            [],
        ),
        (
            "claude-sonnet-4-20250514",
            {"effort": "high", "max_tokens": 2000},
            {"type": "enabled", "budget_tokens": 1999},
            None,
            [],
        ),
        ("claude-3-7-sonnet", {"effort": "low", "max_tokens": 500}, None, None, ["effort"]),
        ("claude-3-5-haiku", {"effort": "low"}, None, None, ["effort"]),
        (
            "claude-opus-4-8",
            {"effort": "low", "tool_choice": ToolChoice("required")},
            None,
            None,
            ["effort"],
        ),
        (
            "claude-opus-4-5",
            {"effort": "low", "temperature": 0.5},
            {"type": "enabled", "budget_tokens": 2048},
            None,
            ["temperature"],
        ),
    ],
)
def test_effort_is_spelled_as_the_model_takes_it(
    model: str, options: dict[str, Any], thinking: Json, effort: str | None, lost: list[str]
) -> None:
    conversation = asking(**options).offering([Tool("f")])
    rendered = messages.render(conversation, model)
    assert rendered.body.get("thinking") == thinking
    assert rendered.body.get("output_config", {}).get("effort") == effort
    assert [loss.partition(":")[0] for loss in rendered.losses] == lost


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("claude-opus-4-8", (4, 8)),
        ("claude-sonnet-4-5-20250929", (4, 5)),
        ("claude-sonnet-4-20250514", (4, 0)),
        ("anthropic/claude-opus-4.6", (4, 6)),
        ("claude-3-5-sonnet-20241022", (3, 5)),
        ("claude-3-haiku-20240307", (3, 0)),
        ("claude-fable-5", (5, 0)),
        ("kimi-k2", None),
    ],
)
def test_generations_are_read_from_names(name: str, numbers: tuple[int, int] | None) -> None:
    assert generation(name) == numbers


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        ("claude-sonnet-4-5", False),
        ("claude-opus-4-7", False),
        ("claude-3-7-sonnet-latest", False),
        ("claude-opus-4-8", True),
        ("claude-sonnet-5", True),
        ("claude-fable-5-1", True),
        ("kimi-k3", None),
    ],
)
def test_instructions_within_a_conversation_go_to_the_models_that_take_them(
    model: str, taken: bool | None
) -> None:
    """From 4.8 on; a model that is no Claude gets none that its client did not send."""
    assert takes_system_turns(model) is taken
    conversation = Conversation((user("hi"), Message("developer", (Text("be brief"),))))
    roles = [turn["role"] for turn in messages.render(conversation, model).body["messages"]]
    assert roles == (["user", "system"] if taken else ["user"])


def test_a_lowered_limit_lowers_the_thinking_budget() -> None:
    """The API wants the budget below max_tokens."""
    wire = {"max_tokens": 32000, "thinking": {"type": "enabled", "budget_tokens": 31999}}
    document = {"model": "m", "messages": [{"role": "user", "content": "x"}], **wire}
    conversation = front.parse(document, {}).conversation
    less = messages.render(conversation.with_options(max_tokens=4000), "claude-opus-4-8")
    none = messages.render(conversation.with_options(max_tokens=800), "claude-opus-4-8")
    assert less.body["thinking"] == {"type": "enabled", "budget_tokens": 3999}
    assert "thinking" not in none.body


def test_a_tool_loop_begun_by_another_model_goes_on_without_a_thinking_budget() -> None:
    """The API wants its own thinking before the first call, and the other's cannot be sent."""
    tool = {"name": "f", "input_schema": {"type": "object"}}
    thought = {"type": "thinking", "thinking": "hm", "signature": seal("responses", "blob")}
    called = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    document = {
        "model": "v",
        "max_tokens": 9000,
        "thinking": {"type": "enabled", "budget_tokens": 4000},
        "tools": [tool],
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [thought, called]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
        ],
    }
    rendered = messages.render(front.parse(document, {}).conversation, "claude-sonnet-4-5")
    assert "thinking" not in rendered.body
    assert rendered.body["messages"][1]["content"] == [called]
    assert [loss.partition(":")[0] for loss in rendered.losses] == ["reasoning", "effort"]


def test_a_budget_in_place_of_effort_keeps_the_answer_s_format() -> None:
    """Models with a budget take no effort, but the rest of output_config stays."""
    schema = OutputFormat("json_schema", {"type": "object", "additionalProperties": False})
    rendered = messages.render(asking(effort="low", format=schema), "claude-sonnet-4-5")
    assert set(rendered.body["output_config"]) == {"format"}
