"""Options, tools, usage and finish reasons of Chat Completions, both ways."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.protocols.chat import elements as chat
from polyvox.workflows.conversation import Options, OutputFormat, Tool, ToolChoice, Wire
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import FinishReason, Usage

words = st.text(min_size=1)
# Other names are offered in another form, to every protocol.
names = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True)
options = st.builds(
    Options,
    max_tokens=st.none() | st.integers(1, 9999),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(1, 99),
    stop=st.lists(words, max_size=3).map(tuple),
    tool_choice=st.sampled_from(
        [None, ToolChoice("auto"), ToolChoice("none"), ToolChoice("required")]
    )
    | st.builds(ToolChoice, st.just("tool"), names),
    parallel_tool_calls=st.sampled_from([None, True, False]),
    effort=st.sampled_from([None, "none", "low", "xhigh"]),
    format=st.sampled_from(
        [
            None,
            OutputFormat("json_object"),
            OutputFormat("json_schema", {"type": "object"}, "answer", True),
        ]
    ),
)


@given(options)
def test_rendered_options_parse_to_themselves(said: Options) -> None:
    """Every canonical option has a place in the document."""
    assert chat.parse_options(chat.render_options(said, [])) == said


@given(options, options)
def test_changed_options_override_the_document_and_nothing_else(
    before: Options, after: Options
) -> None:
    """A flow's change reaches the provider; unknown fields stay."""
    document = {**chat.render_options(before, []), "logit_bias": {"50256": -100}, "x": None}
    changed = replace(after, wire=Wire("chat", document))
    result = chat.render_options(changed, [])
    assert chat.parse_options(result) == after
    assert result["logit_bias"] == {"50256": -100}
    assert "x" in result


def test_server_tools_of_another_protocol_are_a_loss_and_our_own_stay() -> None:
    """Agents offer server tools by default: that is no reason to refuse them."""
    losses: list[str] = []
    own = chat.parse_tool({"type": "web_search", "x": 1})
    foreign = Tool("web_search", kind="server", wire=Wire("responses", {"type": "web_search"}))
    function = Tool("f", "does", {"type": "object"}, strict=True)
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    custom = Tool("p", kind="custom", wire=Wire("responses", {"format": grammar}))
    assert chat.render_tools([own, foreign, function, custom], losses) == [
        {"type": "web_search", "x": 1},
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "does",
                "parameters": {"type": "object"},
                "strict": True,
            },
        },
        {
            "type": "custom",
            "custom": {
                "name": "p",
                "format": {
                    "type": "grammar",
                    "grammar": {"syntax": "lark", "definition": "start: x"},
                },
            },
        },
    ]
    assert losses == ["tools.web_search: run by its own provider only"]


def test_foreign_fields_are_carried_shared_or_named() -> None:
    """Each field of another protocol's document has a place, a twin or a loss of its name."""
    responses = {
        "max_output_tokens": 5,
        "prompt_cache_key": "k",
        "text": {"verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto", "context": "all_turns"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "truncation": "disabled",
        "tool_choice": {"type": "web_search"},
        "metadata": {},
    }
    losses: list[str] = []
    said = Options(max_tokens=5, effort="low", wire=Wire("responses", responses))
    assert chat.render_options(said, losses) == {
        "max_completion_tokens": 5,
        "reasoning_effort": "low",
        "prompt_cache_key": "k",
        "verbosity": "low",
    }
    assert losses == [
        "reasoning.context",
        "tool_choice.web_search: run by its own provider only",
    ]
    losses = []
    messages = {"max_tokens": 5, "top_k": 3, "thinking": {"type": "adaptive", "display": "omitted"}}
    said = Options(max_tokens=5, top_k=3, wire=Wire("messages", messages))
    assert chat.render_options(said, losses) == {"max_completion_tokens": 5}
    assert losses == ["top_k"]


@pytest.mark.parametrize(
    ("json", "param"),
    [
        (7, None),
        ({"type": 7}, "type"),
        ({"type": "function"}, "function"),
        ({"type": "function", "function": {"name": ""}}, "function.name"),
        ({"function": {"name": "f", "description": 7}}, "function.description"),
        ({"type": "custom", "custom": {"name": "f", "strict": 7}}, "custom.strict"),
    ],
)
def test_an_ill_typed_tool_is_named(json: Any, param: str | None) -> None:
    """The error says which field of the tool is wrong."""
    with pytest.raises(ModelError) as caught:
        chat.parse_tool(json)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}}, "required"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "?"}}, None),
        ({"type": "never heard of"}, None),
        ({"type": "custom", "custom": {"name": "p"}}, "tool"),
    ],
)
def test_a_tool_choice_keeps_its_spelling(said: Any, choice: str | None) -> None:
    """What Options cannot say in full still goes to the same protocol as it was."""
    parsed = chat.parse_options({"tool_choice": said})
    assert (parsed.tool_choice and parsed.tool_choice.mode) == choice
    assert chat.render_options(parsed, [])["tool_choice"] == said


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": True}, "temperature"),
        ({"stop": [1]}, "stop"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"stream_options": True}, "stream_options"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"response_format": 7}, "response_format"),
    ],
)
def test_an_ill_typed_option_is_named(document: Any, param: str) -> None:
    """The error says which option is wrong."""
    with pytest.raises(ModelError) as caught:
        chat.parse_options(document)
    assert caught.value.param == param


@given(st.builds(Usage, *[st.integers(0, 10**6)] * 4, st.integers(0, 0)))
def test_rendered_usage_parses_to_itself(usage: Usage) -> None:
    """Disjoint meters survive Chat's nested ones."""
    assert chat.parse_usage(chat.render_usage(usage)) == usage


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({}, Usage()),
        (None, Usage()),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4}, Usage(input=6, cache_read=4)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 3,
                "total_tokens": 20,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(input=10, output=10, reasoning=7),
        ),
    ],
)
def test_usage_of_compatible_servers_is_normalised(said: Any, usage: Usage) -> None:
    """Cache hits are not fresh input, and reasoning left out of the output is put into it."""
    assert chat.parse_usage(said) == usage


def test_unknown_members_of_usage_stay_while_the_counts_do() -> None:
    """A provider's further counts belong to its own sum and to no other."""
    said = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.1}
    usage = chat.parse_usage(said)
    assert (chat.render_usage(usage, said) or {})["cost"] == 0.1
    assert "cost" not in (chat.render_usage(usage + usage, said) or {})
    assert chat.render_usage(Usage()) is None


def test_every_finish_reason_has_a_spelling_that_means_it() -> None:
    """The tables agree, and a provider's own word is kept where it means the same."""
    for reason in get_args(FinishReason):
        meant = chat.FINISH_REASONS[chat.finish_reason(reason)]
        assert meant == ("length" if reason == "pause" else reason)
    assert chat.finish_reason("tool_calls", "function_call") == "function_call"
    assert chat.finish_reason("tool_calls", "stop") == "tool_calls"
    assert chat.finish_reason("refusal", "stop") == "stop"


@pytest.mark.parametrize("odd", [-1, True, 2**64 - 1, "7", 1.5])
def test_what_is_no_count_of_tokens_is_not_known(odd: Any) -> None:
    """Its sums are stored and sent as 64 bits."""
    usage = chat.parse_usage({"prompt_tokens": odd, "completion_tokens": 7})
    assert usage == Usage(output=7)
