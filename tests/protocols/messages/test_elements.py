from typing import Any

import orjson
import pytest
from hypothesis import given

from polyvox.protocols.messages import elements as messages
from polyvox.protocols.messages.finish import FINISH, STOP_REASONS
from polyvox.protocols.sealed_reasoning import seal
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    Wire,
    assistant,
    tool_result,
    user,
)
from polyvox.workflows.reply import Usage
from tests.samples.messages import RECORDED, conversations

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


def test_later_instructions_are_turns_of_their_own_where_the_model_takes_them() -> None:
    """Behind the user's whole turn, before the assistant's; several stand together."""
    conversation = Conversation(
        (
            user("hi"),
            Message("developer", (Text("one"),)),
            Message("system", (Text("two"),)),
            assistant(Text("hello")),
            Message("developer", (Text("three"),)),
            user("go on"),
            Message("developer", (Text("four"),)),
            user("please"),
            Message("developer", (Text("five"),)),
        )
    )
    losses: list[str] = []
    elements = messages.render_messages(conversation, losses, system_turns=True)
    texts = [(e["role"], [block["text"] for block in e["content"]]) for e in elements]
    assert texts == [
        ("user", ["hi"]),
        ("system", ["one", "two"]),
        ("assistant", ["hello"]),
        (
            "user",
            ["<system>\nthree\n</system>", "go on", "<system>\nfour\n</system>", "please"],
        ),
        ("system", ["five"]),
    ]
    assert set(losses) == {"role: later instructions sent as user text in <system> tags"}


def test_a_client_s_own_later_instruction_is_not_sent_to_a_model_that_refuses_it() -> None:
    """It becomes text where it stands, and keeps its mark for the cache."""
    mark = {"cache_control": {"type": "ephemeral"}}
    sent = [
        {"role": "user", "content": "hi"},
        {"role": "system", "content": [{"type": "text", "text": "be brief", **mark}]},
    ]
    conversation = Conversation(tuple(messages.parse_message(element) for element in sent))
    for taken in (None, True):
        assert messages.render_messages(conversation, [], system_turns=taken) == sent
    losses: list[str] = []
    assert messages.render_messages(conversation, losses, system_turns=False) == [
        sent[0],
        {
            "role": "user",
            "content": [{"type": "text", "text": "<system>\nbe brief\n</system>", **mark}],
        },
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


def test_tools_of_other_vendors_are_dropped_by_name_and_free_form_ones_emulated() -> None:
    """Agents offer server tools by default, so a request must not fail for them."""
    losses: list[str] = []
    server = Tool("web_search", kind="server", wire=Wire("responses", {"type": "web_search"}))
    form = {"type": "grammar", "syntax": "lark", "definition": "start: line"}
    wire = Wire("responses", {"type": "custom", "name": "patch", "format": form})
    custom = Tool("patch", "Patch.", kind="custom", wire=wire)
    plain = Tool("now", None, None, strict=True)
    elements = messages.render_tools((server, custom, plain), losses)
    assert [element["name"] for element in elements] == ["patch", "now"]
    assert elements[0]["input_schema"]["required"] == ["input"]
    assert elements[1] == {
        "name": "now",
        "input_schema": {"type": "object", "properties": {}},
        "strict": True,
    }
    assert "start: line" in elements[0]["description"]
    assert [loss.partition(":")[0] for loss in losses] == ["tools.web_search", "tools.format"]


def test_stop_reasons_map_both_ways() -> None:
    assert all(FINISH[name] == ours for ours, name in STOP_REASONS.items())


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
