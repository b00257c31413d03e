from dataclasses import fields

import pytest

from polyvox.protocols.messages import elements as messages
from polyvox.protocols.messages import options as messages_options
from polyvox.workflows.conversation import (
    Json,
    Options,
    OutputFormat,
    ToolChoice,
    Wire,
)
from polyvox.workflows.errors import ModelError


@pytest.mark.parametrize(
    ("options", "document"),
    [
        (Options(max_tokens=5, temperature=0.5, top_p=0.9, top_k=3), None),
        (Options(stop=("END",)), {"stop_sequences": ["END"]}),
        (Options(tool_choice=ToolChoice("required")), {"tool_choice": {"type": "any"}}),
        (
            Options(tool_choice=ToolChoice("tool", "f"), parallel_tool_calls=False),
            {"tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}},
        ),
        (Options(tool_choice=ToolChoice("none")), {"tool_choice": {"type": "none"}}),
        (Options(effort="none"), {"thinking": {"type": "disabled"}}),
        (
            Options(effort="high"),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        (
            Options(format=OutputFormat("json_schema", {"type": "object"})),
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        ),
    ],
)
def test_options_are_spelled_and_read_back(options: Options, document: Json) -> None:
    rendered_options = messages.render_options(options, [])
    assert messages.parse_options(rendered_options) == options
    assert document is None or rendered_options == document


def test_every_typed_option_has_a_renderer() -> None:
    covered = {name for names in messages_options._RENDERERS for name in names}
    assert covered == {f.name for f in fields(Options)} - {"wire"}


def test_a_changed_option_leaves_the_rest_of_the_document_alone() -> None:
    """Only what a flow changed is written anew."""
    document = {
        "max_tokens": 10,
        "thinking": {"type": "enabled", "budget_tokens": 5000, "display": "omitted"},
        "output_config": {"task_budget": 7},
        "context_management": {"edits": []},
        "safeguards": [{"type": "dangerous_tool_use"}],
        "tool_choice": {"type": "auto", "later": 1},
    }
    options = messages.parse_options(document)
    assert options.effort == "medium"
    assert messages.render_options(options.edited(max_tokens=20), []) == {
        **document,
        "max_tokens": 20,
    }
    changed = messages.render_options(options.edited(effort="max", tool_choice=None), [])
    assert changed["output_config"] == {"task_budget": 7, "effort": "max"}
    assert changed["thinking"] == {"type": "adaptive"}
    assert "tool_choice" not in changed
    assert messages.render_options(options.edited(effort=None), []) == {
        name: value for name, value in document.items() if name != "thinking"
    }


def test_foreign_fields_without_a_counterpart_are_named() -> None:
    """Defaults ask for nothing and are no loss; user names have their own place here."""
    wire = Wire(
        "responses",
        {
            "reasoning": {"effort": "low", "summary": "auto", "context": "all"},
            "text": {"verbosity": "low", "format": {"type": "text"}},
            "truncation": "disabled",
            "metadata": {},
            "prompt_cache_key": "k",
            "store": False,
            "safety_identifier": "u1",
            "seed": None,
        },
    )
    losses: list[str] = []
    document = messages.render_options(Options(effort="low", wire=wire), losses)
    assert losses == [
        "reasoning.context",
        "text.verbosity",
        "prompt_cache_key: caches are found by content",
    ]
    assert document["metadata"] == {"user_id": "u1"}
    assert document["thinking"] == {"type": "adaptive", "display": "summarized"}


def test_values_out_of_range_here_are_fitted_and_named() -> None:
    losses: list[str] = []
    document = messages.render_options(
        Options(temperature=1.7, stop=("\n", "END"), format=OutputFormat("json_object")), losses
    )
    assert document == {"temperature": 1.0, "stop_sequences": ["END"]}
    assert [loss.partition(":")[0] for loss in losses] == ["temperature", "response_format"]


@pytest.mark.parametrize("field", [{"logprobs": True}, {"modalities": ["audio"]}])
def test_a_foreign_field_that_asks_for_another_kind_of_answer_is_refused(field: Json) -> None:
    with pytest.raises(ModelError) as caught:
        messages.render_options(Options(wire=Wire("chat", field)), [])
    assert caught.value.kind == "unsupported"
    assert caught.value.param in field


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"max_tokens": "9"}, "max_tokens"),
        ({"temperature": True}, "temperature"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": True}, "thinking"),
        ({"output_config": []}, "output_config"),
    ],
)
def test_an_ill_typed_option_is_named(document: Json, param: str) -> None:
    with pytest.raises(ModelError) as caught:
        messages.parse_options(document)
    assert caught.value.param == param
