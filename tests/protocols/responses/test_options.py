"""The request fields of Responses beside its items."""

from dataclasses import fields

import pytest

from polyvox.protocols.responses import elements as responses
from polyvox.workflows.conversation import (
    Json,
    Options,
    OutputFormat,
    ToolChoice,
    Wire,
)
from polyvox.workflows.errors import ModelError


def test_options_come_back_unchanged_but_for_what_was_changed() -> None:
    """A flow's change overrides just its own field of the client's document."""
    document = {
        "temperature": 1,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "low"},
        "include": ["x"],
        "client_metadata": {"a": "b"},
        "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"name": "f"}]},
    }
    options = responses.parse_options(document)
    choice = ToolChoice("required", allowed=("f",))
    assert options == Options(temperature=1, effort="low", tool_choice=choice)
    losses: list[str] = []
    assert responses.render_options(options, losses) == document
    schema = OutputFormat("json_schema", {"type": "object"}, "verdict", True)
    changed = options.edited(effort="high", temperature=None, format=schema, max_tokens=5)
    form = {"type": "json_schema", "name": "verdict", "schema": {"type": "object"}, "strict": True}
    assert responses.render_options(changed, losses) == {
        **{name: value for name, value in document.items() if name != "temperature"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "text": {"verbosity": "low", "format": form},
        "max_output_tokens": 5,
    }
    assert losses == []


def test_options_of_another_protocol_are_mapped_or_named() -> None:
    """What has no field here is a loss under its own name; defaults and nothing are none."""
    chat = {"top_k": 3, "seed": 7, "n": 1, "logit_bias": {}, "stop": ["x"], "stream_options": {}}
    options = Options(
        max_tokens=1,
        stop=("x",),
        top_k=3,
        tool_choice=ToolChoice("tool", "f"),
        wire=Wire("chat", chat),
    )
    losses: list[str] = []
    assert responses.render_options(options, losses) == {
        "max_output_tokens": 16,
        "tool_choice": {"type": "function", "name": "f"},
    }
    assert losses == [
        "max_tokens: raised to 16, the least this protocol allows",
        "top_k",
        "seed",
    ]


def test_every_option_has_a_place_or_is_a_loss() -> None:
    """A new canonical option cannot be forgotten here: set alone, it shows or is named.

    Stop sequences are neither: who reads the answer watches for them.
    """
    values: dict[str, Json] = {
        "max_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 5,
        "tool_choice": ToolChoice("none"),
        "parallel_tool_calls": False,
        "effort": "low",
        "format": OutputFormat("json_object"),
    }
    assert set(values) == {f.name for f in fields(Options)} - {"wire", "stop"}
    for name, value in values.items():
        losses: list[str] = []
        document = responses.render_options(Options(**{name: value}), losses)
        assert bool(document) != bool(losses), name


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": 1}, "tool_choice"),
        ({"text": {"format": "json"}}, "text.format"),
        ({"reasoning": "hard"}, "reasoning"),
    ],
)
def test_an_ill_typed_option_is_named(document: Json, param: str) -> None:
    with pytest.raises(ModelError) as caught:
        responses.parse_options(document)
    assert (caught.value.kind, caught.value.param) == ("invalid_request", param)
