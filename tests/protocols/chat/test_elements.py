"""Chat Completions elements, both ways."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.protocols.chat import elements as chat
from polyvox.protocols.chat.reasoning import seal_reasoning
from polyvox.protocols.tool_names import LONGEST, offered_name
from polyvox.workflows.conversation import (
    Audio,
    Conversation,
    File,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Wire,
    assistant,
    tool_result,
    user,
)
from polyvox.workflows.errors import ModelError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "chat"
EXCHANGES = json.loads((FIXTURES / "exchanges.json").read_text("utf-8"))

words = st.text(min_size=1)
# Other names are offered in another form, to every protocol.
names = st.from_regex(rf"[a-zA-Z0-9_-]{{1,{LONGEST}}}", fullmatch=True).filter(
    lambda name: offered_name(name) == name
)
texts = st.builds(Text, words)
sources = st.one_of(
    st.builds(Source, media_type=st.just("image/png"), data=st.just("iVBORw0KGgo=")),
    st.builds(Source, url=st.just("https://example.com/cat.png")),
)
media = st.one_of(
    st.builds(Image, sources, st.sampled_from([None, "low", "high"])),
    st.builds(Audio, st.just("UklGRg=="), st.sampled_from(["wav", "mp3"])),
    st.builds(File, st.just(Source("application/pdf", "JVBERi0=")), words),
    st.builds(File, st.just(Source(file_id="file-1")), st.none()),
)
calls = st.builds(
    ToolCall, words, names, st.just('{"b": 1.50, "a": null}'), st.sampled_from(["function"])
) | st.builds(ToolCall, words, names, words, st.just("custom"))


def turns(*parts: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Part, ...]]:
    return st.tuples(*parts).map(lambda found: tuple(p for p in found if p is not None))


assistant_turns = st.builds(
    Message,
    st.just("assistant"),
    st.tuples(
        turns(
            st.none() | st.builds(Reasoning, words, origin=st.just("chat")),
            st.none() | texts,
            st.none() | st.builds(Refusal, words),
        ),
        st.lists(calls, max_size=3).map(tuple),
    ).map(lambda found: (*found[0], *found[1])),
).filter(lambda message: bool(message.parts))
others = st.one_of(
    st.builds(
        Message,
        st.sampled_from(["system", "developer", "user"]),
        st.lists(texts, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Message, st.just("user"), st.lists(texts | media, min_size=1, max_size=3).map(tuple)),
    st.builds(
        Message,
        st.just("tool"),
        st.builds(ToolResult, words, st.lists(texts, min_size=1, max_size=2).map(tuple)).map(
            lambda result: (result,)
        ),
    ),
)


def rendered(*messages: Message, system: Message | None = None) -> tuple[list[Any], list[str]]:
    losses: list[str] = []
    return chat.render_messages(Conversation(messages, system), losses), losses


@given(st.lists(others | assistant_turns, min_size=1, max_size=5))
def test_a_rendered_message_parses_to_itself(messages: list[Message]) -> None:
    """Parse and render are each other's inverse for what Chat can say."""
    # Two turns of the assistant in a row are one message in Chat.
    spaced = [m for message in messages for m in (message, user("and?"))]
    elements, losses = rendered(*spaced)
    assert not losses
    assert [chat.parse_message(element) for element in elements] == spaced


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: str(exchange["id"]))
def test_a_recorded_request_goes_back_unchanged(exchange: Any) -> None:
    """Same protocol out gives every element back, unknown fields and spelling included."""
    request = exchange["request"]
    parsed = [chat.parse_message(message) for message in request["messages"]]
    assert rendered(*parsed) == (request["messages"], [])
    tools = [chat.parse_tool(tool) for tool in request.get("tools", [])]
    assert chat.render_tools(tools, []) == request.get("tools", [])


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: str(exchange["id"]))
def test_an_edited_message_is_made_again_from_its_parts(exchange: Any) -> None:
    """Parts keep their own spelling when their message loses its own."""
    request = exchange["request"]
    for element in request["messages"]:
        message = chat.parse_message(element)
        [again], losses = rendered(message.edited(role=message.role))
        assert not losses
        assert chat.parse_message(again) == message
        if isinstance(element.get("content"), list):
            assert again["content"] == element["content"]


def test_rendering_leaves_shared_wire_elements_alone() -> None:
    """A wire element belongs to every value that was parsed from it."""
    element = {
        "role": "assistant",
        "tool_calls": [
            {"id": at, "type": "function", "function": {"name": "f", "arguments": "{}"}}
            for at in "ab"
        ],
    }
    message = chat.parse_message(element)
    message = message.edited(role=message.role)
    first, _ = rendered(message)
    assert rendered(message)[0] == first
    assert first[0]["tool_calls"] == element["tool_calls"]


@pytest.mark.parametrize(
    ("element", "parts"),
    [
        ({"role": "user", "content": None}, ()),
        ({"role": "user", "content": "hi", "name": "kim"}, (Text("hi"),)),
        ({"role": "assistant", "content": "", "tool_calls": None, "refusal": None}, ()),
        ({"role": "assistant", "refusal": "no"}, (Refusal("no"),)),
        (
            {"role": "assistant", "content": "a", "reasoning": "r", "reasoning_content": "r"},
            (Reasoning("r", origin="chat"), Text("a")),
        ),
        ({"role": "function", "name": "f", "content": "1"}, (ToolResult("f", (Text("1"),)),)),
        (
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            (ToolCall("f", "f", "{}"),),
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
                ],
            },
            (Image(Source("image/png", "AA")),),
        ),
        ({"role": "assistant", "audio": {"id": "audio_1"}}, (Opaque(),)),
        ({"role": "user", "content": [{"type": "video_url", "video_url": {}}]}, (Opaque(),)),
        (
            {"role": "assistant", "tool_calls": [{"id": "1", "type": "mcp", "mcp": {}}]},
            (Opaque(),),
        ),
    ],
)
def test_an_element_is_parsed_to_its_parts(element: Any, parts: tuple[Part, ...]) -> None:
    """Unknown content is Opaque with its spelling, null is nothing."""
    message = chat.parse_message(element)
    assert message.parts == parts
    assert message.on_wire("chat") is element
    assert all(p.wire is not None for p in message.parts if isinstance(p, Opaque))


@pytest.mark.parametrize(
    ("element", "param"),
    [
        ("hi", None),
        ({"content": "hi"}, "role"),
        ({"role": "wizard", "content": "hi"}, "role"),
        ({"role": "user", "content": 7}, "content"),
        ({"role": "user", "content": ["hi"]}, "content[0]"),
        ({"role": "user", "content": [{"text": "hi"}]}, "content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "content[0].text"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": 1}}]},
            "content[0].image_url.url",
        ),
        ({"role": "tool", "content": "hi", "tool_call_id": 7}, "tool_call_id"),
        ({"role": "assistant", "tool_calls": {}}, "tool_calls"),
        ({"role": "assistant", "tool_calls": [7]}, "tool_calls[0]"),
        ({"role": "assistant", "tool_calls": [{"type": ["x"]}]}, "tool_calls[0].type"),
        ({"role": "assistant", "reasoning_content": 7}, "reasoning_content"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": 7}]},
            "content[0].image_url",
        ),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "content[0].file.file_data"),
        (
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": 7}}],
            },
            "tool_calls[0].function.arguments",
        ),
    ],
)
def test_an_ill_typed_known_field_is_named(element: Any, param: str | None) -> None:
    """The error says which field of the element is wrong."""
    with pytest.raises(ModelError) as caught:
        chat.parse_message(element)
    assert caught.value.kind == "invalid_request"
    assert caught.value.param == param


def test_pieces_of_one_turn_become_one_assistant_message() -> None:
    """Responses spreads a turn over items; Chat wants one message with all calls, then results."""
    elements, losses = rendered(
        user("go"),
        assistant(Reasoning("hm", "secret", "responses")),
        assistant(Text("I look.")),
        assistant(ToolCall("c1", "look", "{}", namespace="eyes")),
        assistant(ToolCall("c2", "find", '{"a": 1}')),
        tool_result(ToolCall("c1", "look", "{}"), "seen"),
        tool_result(ToolCall("c2", "find", "{}"), "lost", is_error=True),
    )
    assert losses == ["reasoning: only the provider that wrote it can take it back"]
    assert [element["role"] for element in elements] == ["user", "assistant", "tool", "tool"]
    assert elements[1]["content"] == "I look."
    names = [call["function"]["name"] for call in elements[1]["tool_calls"]]
    assert names == ["eyes__look", "find"]
    assert elements[3]["content"] == "Error: lost"


def test_tool_results_of_a_user_turn_come_first_and_their_images_after_all_of_them() -> None:
    """Chat takes tool messages right after the call and images only from the user."""
    image = Image(Source("image/png", "AA"))
    elements, losses = rendered(
        assistant(ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}")),
        Message(
            "user",
            (
                ToolResult("c1", (Text("one"), image)),
                ToolResult("c2", (Text("two"),)),
                Text("and now?"),
            ),
        ),
    )
    assert not losses
    assert [element["role"] for element in elements] == [
        "assistant",
        "tool",
        "tool",
        "user",
        "user",
    ]
    assert [element["content"] for element in elements[1:3]] == ["one", "two"]
    assert "c1" in elements[3]["content"][0]["text"]
    assert elements[3]["content"][1]["image_url"]["url"] == "data:image/png;base64,AA"
    assert elements[4]["content"] == "and now?"


def test_a_system_instruction_comes_first_and_keeps_its_blocks() -> None:
    """Blocks of another protocol's system stay apart as text parts."""
    system = Message("system", (Text("Be kind."), Text("Be short.")))
    elements, _ = rendered(user("hi"), system=system)
    assert elements[0] == {
        "role": "system",
        "content": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be short."}],
    }


def test_a_developer_of_another_protocol_speaks_as_system() -> None:
    """Only OpenAI knows the developer role, every server knows system."""
    foreign = Message("developer", (Text("x"),), wire=Wire("responses", {}))
    elements, _ = rendered(foreign)
    assert elements[0]["role"] == "system"


def test_what_chat_cannot_say_is_a_named_loss() -> None:
    """Foreign opaque blocks and media in the wrong place are dropped by name."""
    block = Opaque(wire=Wire("messages", {"type": "server_tool_use"}))
    image = Image(Source(url="https://example.com/a.png"))
    elements, losses = rendered(assistant(Text("a"), block, image), user("hi"))
    assert elements[0] == {"role": "assistant", "content": "a"}
    assert losses == [
        "server_tool_use: known to its own protocol only",
        "image in assistant message",
    ]


@pytest.mark.parametrize(
    "part", [Image(Source(file_id="f")), File(Source(url="https://example.com/a.pdf"))]
)
def test_media_that_chat_cannot_point_to_is_refused(part: Part) -> None:
    """Leaving a document out would change the question."""
    with pytest.raises(ModelError) as caught:
        rendered(Message("user", (part,)))
    assert caught.value.kind == "unsupported"


def test_a_text_document_is_sent_as_text() -> None:
    """Chat's files are PDFs; plain text is just that."""
    elements, _ = rendered(Message("user", (File(Source("text/plain", "aGk="), "a.txt"),)))
    assert elements[0]["content"] == "a.txt:\nhi"


@given(st.lists(st.tuples(st.text(), st.booleans()), min_size=1, max_size=4))
def test_sealed_reasoning_comes_back_whole_and_never_reaches_a_chat_provider(
    thoughts: list[tuple[str, bool]],
) -> None:
    """A client that returns reasoning_details returns the signatures with the right texts."""
    parts = [
        Reasoning("" if redacted else text, f"sig{at}", "messages", redacted)
        for at, (text, redacted) in enumerate(thoughts)
    ]
    details = [detail for part in parts for detail in seal_reasoning(part)["reasoning_details"]]
    element = {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "".join(part.text for part in parts),
        "reasoning_details": details,
    }
    message = chat.parse_message(element)
    assert message.parts == (*parts, Text("a"))
    elements, losses = rendered(message)
    assert elements == [{"role": "assistant", "content": "a"}]
    assert losses == ["reasoning: only the provider that wrote it can take it back"]
    other = "".join(part.text for part in parts) + "!"
    edited = chat.parse_message({**element, "reasoning_content": other})
    assert edited.parts[0] == Reasoning(other)
