import base64
from dataclasses import fields
from typing import Any

import orjson
import pytest
from hypothesis import given

from polyvox.workflows.conversation import (
    Audio,
    Conversation,
    File,
    Image,
    Json,
    Message,
    Opaque,
    Options,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Wire,
    assistant,
    tool_result,
    user,
)
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Usage
from polyvox.workflows.wire import messages, messages_options
from polyvox.workflows.wire.envelope import seal
from polyvox.workflows.wire.messages_blocks import render_answer_block
from tests.messages_samples import RECORDED, conversations

REQUESTS: list[dict[str, Json]] = orjson.loads((RECORDED / "requests.json").read_bytes())


def rendered(*said: Message, system: Message | None = None) -> tuple[list[Json], list[str]]:
    losses: list[str] = []
    return messages.render_messages(Conversation(said, system), losses), losses


@given(conversations)
def test_what_is_rendered_parses_back_to_the_same(conversation: Conversation) -> None:
    """Parse and render are a mirror pair for all that this protocol can say."""
    losses: list[str] = []
    system = messages.render_system(conversation, losses)
    elements = messages.render_messages(conversation, losses)
    tools = messages.render_tools(conversation.tools, losses)
    again = Conversation(
        tuple(map(messages.parse_message, elements)),
        None if system is None else messages.parse_system(system),
        tuple(map(messages.parse_tool, tools)),
    )
    assert again == conversation
    assert not losses


@pytest.mark.parametrize("request_", REQUESTS)
def test_recorded_requests_go_out_as_they_came(request_: dict[str, Any]) -> None:
    """The same protocol out gets every element back unchanged, unknown fields included."""
    losses: list[str] = []
    said = tuple(map(messages.parse_message, request_["messages"]))
    conversation = Conversation(said)
    tools = tuple(map(messages.parse_tool, request_.get("tools") or []))
    outside = ("model", "messages", "tools", "stream", "system")
    rest = {name: value for name, value in request_.items() if name not in outside}
    assert messages.render_messages(conversation, losses) == request_["messages"]
    assert messages.render_tools(tools, losses) == (request_.get("tools") or [])
    assert messages.render_options(messages.parse_options(rest), losses) == rest
    assert not losses


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, Text("a")),
        (
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
            Image(Source(file_id="f")),
        ),
        (
            {"type": "document", "source": {"type": "text", "data": "hej", "media_type": "x"}},
            File(Source("text/plain", data=base64.b64encode(b"hej").decode())),
        ),
        ({"type": "document", "source": {"type": "content", "content": []}}, Opaque()),
        ({"type": "image", "source": {"type": "satellite"}}, Opaque()),
        (
            {
                "type": "search_result",
                "title": "T",
                "source": "S",
                "content": [{"type": "text", "text": "body"}],
            },
            Text("T (S)\nbody"),
        ),
        ({"type": "thinking", "thinking": "t", "signature": "s"}, Reasoning("t", "s", "messages")),
        (
            {"type": "thinking", "thinking": "t", "signature": seal("responses", "enc")},
            Reasoning("t", "enc", "responses"),
        ),
        (
            {"type": "thinking", "thinking": "t", "signature": seal("chat", "")},
            Reasoning("t", None, "chat"),
        ),
        ({"type": "redacted_thinking", "data": "d"}, Reasoning("", "d", "messages", True)),
        (
            {"type": "tool_use", "id": "i", "name": "n", "input": {"b": 1, "a": 2}, "caller": {}},
            ToolCall("i", "n", '{"b":1,"a":2}'),
        ),
        ({"type": "tool_result", "tool_use_id": "i", "content": None}, ToolResult("i", ())),
        (
            {
                "type": "tool_result",
                "tool_use_id": "i",
                "is_error": True,
                "content": [{"type": "tool_reference", "tool_name": "x"}],
            },
            ToolResult("i", (Opaque(),), True),
        ),
        ({"type": "server_tool_use", "id": "i", "name": "web_search", "input": {}}, Opaque()),
        ({"type": "from_the_future"}, Opaque()),
    ],
)
def test_each_block_has_its_part_and_goes_back_unchanged(block: Json, part: Part) -> None:
    """A known block gives a typed part, an unknown one Opaque; both keep the whole block."""
    message = messages.parse_message({"role": "user", "content": [block]})
    assert message.parts == (part,)
    assert message.parts[0].on_wire("messages") is block


@pytest.mark.parametrize(
    ("element", "param"),
    [
        ({"role": "tool", "content": "x"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": ["x"]}, "content.0"),
        ({"role": "user", "content": [{"type": "text"}]}, "content.0.text"),
        ({"role": "user", "content": [{"type": "image"}]}, "content.0.source"),
        (
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": 1}}]},
            "content.0.source.url",
        ),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "input": "{}"}]},
            "content.0.input",
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "i", "content": [{"type": "text"}]}
                ],
            },
            "content.0.content.0.text",
        ),
    ],
)
def test_an_ill_typed_field_is_named(element: Json, param: str) -> None:
    with pytest.raises(ModelError) as caught:
        messages.parse_message(element)
    assert caught.value.kind == "invalid_request"
    assert caught.value.param == param


@pytest.mark.parametrize("content", ["be brief", [{"type": "text", "text": "be brief"}]])
def test_a_system_message_among_the_messages_stays_where_it_is(content: Json) -> None:
    """Newer clients instruct in mid-conversation, as a string or as blocks."""
    elements = [
        {"role": "user", "content": "hi"},
        {"role": "system", "content": content},
        {"role": "assistant", "content": "hello"},
    ]
    parsed = [messages.parse_message(element) for element in elements]
    assert parsed[1].role == "system"
    assert parsed[1].text == "be brief"
    assert rendered(*parsed) == (elements, [])


def test_leading_foreign_instructions_become_the_system_field() -> None:
    """Chat and Responses keep them at the head of their messages; later ones stay in place."""
    conversation = Conversation(
        (
            Message("system", (Text("one"),)),
            Message("developer", (Text("two"),)),
            user("hi"),
            Message("developer", (Text("three"),)),
        ),
        Message("system", (Text("zero"),)),
    )
    losses: list[str] = []
    system = messages.render_system(conversation, losses)
    assert [block["text"] for block in system or []] == ["zero", "one", "two"]
    assert not losses
    assert messages.render_messages(conversation, losses) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "text", "text": "<system>\nthree\n</system>"},
            ],
        }
    ]
    assert losses == ["role: later instructions sent as user text in <system> tags"]


def test_an_added_instruction_leaves_the_client_s_own_blocks_as_they_are() -> None:
    """Their cache markers and spelling survive."""
    block = {"type": "text", "text": "yours", "cache_control": {"type": "ephemeral"}}
    conversation = Conversation((user("hi"),), messages.parse_system([block])).instructed("ours")
    assert messages.render_system(conversation, []) == [
        block,
        {"type": "text", "text": "\n\nours"},
    ]


def test_pieces_of_one_turn_are_joined_with_results_first() -> None:
    """The API wants every result in the next user turn, before any text."""
    calls = [ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"x":1}')]
    elements, losses = rendered(
        user("go"),
        assistant(Text("on it")),
        assistant(calls[0]),
        assistant(calls[1]),
        tool_result(calls[0], "1"),
        user("hurry"),
        tool_result(calls[1], "2", is_error=True),
    )
    assert [element["role"] for element in elements] == ["user", "assistant", "user"]
    assert [block["type"] for block in elements[1]["content"]] == ["text", "tool_use", "tool_use"]
    assert elements[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        {"type": "tool_result", "tool_use_id": "b", "content": "2", "is_error": True},
        {"type": "text", "text": "hurry"},
    ]
    assert not losses


def test_turns_from_this_wire_are_never_joined() -> None:
    """What the client sent goes out as the very same elements, whatever stands beside them."""
    own = {"role": "user", "content": "mine"}
    elements, _ = rendered(messages.parse_message(own), user("ours"), messages.parse_message(own))
    assert elements[0] is own
    assert elements[2] is own
    assert elements[1]["content"] == [{"type": "text", "text": "ours"}]


def test_an_edited_message_keeps_the_blocks_that_were_not_edited() -> None:
    block = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    message = messages.parse_message({"role": "user", "content": [block]})
    elements, _ = rendered(message.edited(parts=(*message.parts, Text("b"))))
    assert elements == [{"role": "user", "content": [block, {"type": "text", "text": "b"}]}]


def test_reasoning_of_another_vendor_never_reaches_this_one() -> None:
    """It comes back sealed in a signature no provider can verify, even on this very wire."""
    sealed = {"type": "thinking", "thinking": "hm", "signature": seal("responses", "enc")}
    own = {"type": "thinking", "thinking": "ah", "signature": "real"}
    said = {"type": "text", "text": "hello"}
    turn = {"role": "assistant", "content": [sealed, own, said], "kept": 1}
    elements, losses = rendered(
        user("hi"),
        messages.parse_message(turn),
        messages.parse_message({"role": "assistant", "content": [sealed]}),
        assistant(Reasoning("no one's")),
    )
    assert elements[1:] == [{**turn, "content": [own, said]}]
    assert {loss.partition(":")[0] for loss in losses} == {"reasoning"}


@pytest.mark.parametrize("origin", ["chat", "responses"])
@pytest.mark.parametrize("opaque", [None, "blob"])
def test_a_client_brings_foreign_reasoning_back(origin: Any, opaque: str | None) -> None:
    """The signature slot carries the other protocol's blob there and back."""
    part = Reasoning("hm", opaque, origin)
    block = render_answer_block(part)
    message = messages.parse_message({"role": "assistant", "content": [block]})
    assert message.parts == (part,)


def test_blank_text_and_empty_turns_are_left_out() -> None:
    """The API refuses both."""
    elements, losses = rendered(user("hi"), assistant(Text("")), assistant(Text(" \n")), user("x"))
    assert elements == [
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("hi", "x")]}
    ]
    assert not losses


@pytest.mark.parametrize("said", [(), (assistant(Text("hello")),)])
def test_a_user_turn_opens_where_a_foreign_request_has_none(said: tuple[Message, ...]) -> None:
    elements, losses = rendered(*said)
    assert elements[0]["role"] == "user"
    assert len(losses) == 1


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (Opaque(wire=Wire("responses", {"type": "item_reference", "id": "x"})), "item_reference"),
        (Image(Source(file_id="file-1")), "file_id"),
        (File(Source("application/zip", data="UEsDBP8=")), "file"),
        (ToolCall("i", "f", "[1"), "arguments"),
    ],
)
def test_what_has_no_place_here_is_a_named_loss(part: Part, name: str) -> None:
    _, losses = rendered(user("hi"), assistant(part))
    assert [loss.partition(":")[0] for loss in losses] == [name]


def test_audio_is_refused_by_name() -> None:
    """A model that cannot hear must not answer as if nothing had been said."""
    with pytest.raises(ModelError) as caught:
        rendered(Message("user", (Audio("AAAA", "wav"),)))
    assert caught.value.kind == "unsupported"


def test_foreign_calls_fit_the_alphabet_and_the_shape_of_this_protocol() -> None:
    """Ids keep call and result a pair; free text rides in an object; a namespace in the name."""
    call = ToolCall("call:1", "apply", "*** patch", kind="custom", namespace="files")
    elements, _ = rendered(user("go"), assistant(call, Refusal("no")), tool_result(call, "ok"))
    assert elements[1]["content"] == [
        {
            "type": "tool_use",
            "id": "call_1",
            "name": "files__apply",
            "input": {"input": "*** patch"},
        },
        {"type": "text", "text": "no"},
    ]
    assert elements[2]["content"][0]["tool_use_id"] == "call_1"


def test_tools_of_other_vendors_are_dropped_by_name_and_free_form_ones_emulated() -> None:
    """Agents offer server tools by default, so a request must not fail for them."""
    losses: list[str] = []
    server = Tool("web_search", kind="server", wire=Wire("responses", {"type": "web_search"}))
    custom = Tool("patch", "Patch.", kind="custom")
    plain = Tool("now", None, None, strict=True)
    elements = messages.render_tools((server, custom, plain), losses)
    assert [element["name"] for element in elements] == ["patch", "now"]
    assert elements[0]["input_schema"]["required"] == ["input"]
    assert elements[1] == {
        "name": "now",
        "input_schema": {"type": "object", "properties": {}},
        "strict": True,
    }
    assert [loss.partition(":")[0] for loss in losses] == ["tools.web_search", "tools.patch"]


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
    assert losses == ["reasoning.context", "text.verbosity", "prompt_cache_key"]
    assert document["metadata"] == {"user_id": "u1"}


def test_values_out_of_range_here_are_fitted_and_named() -> None:
    losses: list[str] = []
    document = messages.render_options(
        Options(temperature=1.7, stop=("\n", "END"), format=OutputFormat("json_object")), losses
    )
    assert document == {"temperature": 1.0, "stop_sequences": ["END"]}
    assert [loss.partition(":")[0] for loss in losses] == ["temperature", "stop", "response_format"]


@pytest.mark.parametrize("field", [{"n": 2}, {"logprobs": True}, {"modalities": ["audio"]}])
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


def test_stop_reasons_map_both_ways() -> None:
    assert all(messages.FINISH[name] == ours for ours, name in messages.STOP_REASONS.items())


def test_usage_is_disjoint_meters_both_ways() -> None:
    """Input is what was neither read from the cache nor written to it."""
    usage = Usage(1, 2, 3, 4, 2)
    document = messages.render_usage(usage)
    assert document["cache_creation_input_tokens"] == 3
    assert messages.parse_usage(document) == usage
    assert messages.parse_usage({"output_tokens": 4}) == Usage(output=4)


def test_what_compaction_took_is_counted() -> None:
    """The provider bills it and leaves it out of its top-level numbers."""
    compaction = {"type": "compaction", "input_tokens": 100, "output_tokens": 10}
    advisor = {"type": "advisor_message", "input_tokens": 7, "output_tokens": 7}
    usage = {"input_tokens": 5, "output_tokens": 1, "iterations": [compaction, advisor]}
    assert messages.parse_usage(usage) == Usage(input=105, output=11)
