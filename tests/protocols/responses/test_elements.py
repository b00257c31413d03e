"""Elements of Responses: one item is one message, and nothing of it is lost."""

import pytest

from polyvox.protocols.responses import elements as responses
from polyvox.protocols.sealed_reasoning import seal
from polyvox.workflows.conversation import (
    Audio,
    Conversation,
    File,
    Image,
    Json,
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
    user,
)
from polyvox.workflows.errors import ModelError
from tests.samples.responses import REQUESTS

ITEMS = [item for r in REQUESTS if isinstance(r["input"], list) for item in r["input"]]


# The items that agents send and that only this protocol has.
ONLY_HERE: list[dict[str, Json]] = [
    {"type": "item_reference", "id": "msg_1"},
    {"id": "msg_1"},
    {"type": "compaction_trigger"},
    {"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]},
    {"type": "tool_search_output", "call_id": "c", "execution": "client", "tools": []},
    {"type": "never heard of", "payload": {"deep": [1, 2]}},
]


def test_an_item_comes_back_unchanged() -> None:
    """To the same protocol every item goes out as it came in, known or not."""
    items = [*ITEMS, *ONLY_HERE]
    conversation = Conversation(tuple(responses.parse_message(item) for item in items))
    losses: list[str] = []
    assert responses.render_messages(conversation, losses) == items
    assert losses == []


def test_an_item_nobody_else_has_is_opaque() -> None:
    """It keeps its place in the conversation, and other protocols can name what they drop."""
    for item in ONLY_HERE:
        assert responses.parse_message(item).parts == (Opaque(),)


def test_an_item_survives_the_loss_of_its_message() -> None:
    """A reply's parts alone, as a flow puts them into a message, still give the same item."""
    ours = [i for i in ITEMS if i.get("role") == "assistant" and isinstance(i["content"], list)]
    ours += [i for i in ITEMS if i.get("type") in ("reasoning", "function_call", "compaction")]
    for item in ours:
        parts = responses.parse_message(item).parts
        assert responses.render_parts("assistant", parts, []) == [item]


def test_content_of_each_kind_is_parsed() -> None:
    """Data URLs become base64 with their type; other URLs and file ids stay references."""
    content = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "high"},
        {"type": "input_image", "image_url": "https://example.org/a.png"},
        {"type": "input_image", "file_id": "file-1"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,QQ==",
        },
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
        {"type": "input_hologram", "beam": 1},
    ]
    message = responses.parse_message({"role": "user", "content": content})
    assert message == Message(
        "user",
        (
            Text("look"),
            Image(Source("image/png", "QUJD"), "high"),
            Image(Source(url="https://example.org/a.png")),
            Image(Source(file_id="file-1")),
            File(Source("application/pdf", "QQ=="), "a.pdf"),
            File(Source(url="https://example.org/a.pdf")),
            Audio("QUJD", "wav"),
            Opaque(),
        ),
    )


def test_calls_and_results_are_parsed() -> None:
    """The id that pairs is ``call_id``; arguments keep the text the model wrote."""
    text = '{"b": 1,  "a": 1.0}'
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f"}
    assert responses.parse_message({**call, "arguments": text, "namespace": "n"}) == assistant(
        ToolCall("call_1", "f", text, namespace="n")
    )
    custom = {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "*** x"}
    assert responses.parse_message(custom) == assistant(
        ToolCall("call_2", "patch", "*** x", "custom")
    )
    image = {"type": "input_image", "image_url": "data:image/png;base64,QQ=="}
    output = {"type": "function_call_output", "call_id": "call_1", "output": [image]}
    assert responses.parse_message(output) == Message(
        "tool", (ToolResult("call_1", (Image(Source("image/png", "QQ==")),)),)
    )


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ("text", ""),
        ({"role": "owner", "content": ""}, "role"),
        ({"role": "user", "content": 1}, "content"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "content[0].text"),
        ({"role": "user", "content": ["text"]}, "content[0]"),
        ({"role": "user", "content": [{"type": "input_image"}]}, "content[0].image_url"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "name"),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": 1}, "arguments"),
        ({"type": "function_call_output", "call_id": "c", "output": 1}, "output"),
        (
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "refusal"}]},
            "output[0].refusal",
        ),
    ],
)
def test_an_ill_typed_field_is_named(item: Json, param: str) -> None:
    """The error says where in the item the fault is."""
    with pytest.raises(ModelError) as caught:
        responses.parse_message(item)
    assert (caught.value.kind, caught.value.param) == ("invalid_request", param)


def test_reasoning_of_another_protocol_never_goes_to_this_one() -> None:
    """A sealed secret comes back to us, is opened, and is no business of this provider's."""
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
        "encrypted_content": seal("messages", "signature"),
    }
    message = responses.parse_message(item)
    assert message == assistant(Reasoning("a\n\nb", "signature", "messages"))
    losses: list[str] = []
    assert responses.render_messages(Conversation((message, user("go on"))), losses) == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on"}]}
    ]
    assert losses == ["reasoning: only the provider that wrote it can take it back"]


def test_own_reasoning_goes_back_even_when_its_item_is_lost() -> None:
    """Encrypted content that travelled through another protocol's slot is enough."""
    losses: list[str] = []
    items = responses.render_parts("assistant", [Reasoning("t", "secret", "responses")], losses)
    summary = [{"type": "summary_text", "text": "t"}]
    assert items == [{"type": "reasoning", "summary": summary, "encrypted_content": "secret"}]
    assert losses == []
    assert responses.render_parts("assistant", [Reasoning("t")], losses) == []
    assert losses == ["reasoning: text without encrypted content"]


def test_a_turn_of_another_protocol_is_spread_over_items() -> None:
    """Calls and results become items where they stand; texts between them share a message."""
    conversation = Conversation(
        (
            assistant(Text("a"), Text("b"), ToolCall("c1", "f", "{}"), Refusal("no")),
            Message(
                "user",
                (
                    ToolResult("c1", (Text("gone"),), is_error=True),
                    ToolResult("c2", (Text("x"), Image(Source(url="https://example.org/i")))),
                    Text("now?"),
                ),
            ),
        )
    )
    assert responses.render_messages(conversation, []) == [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "no"}],
        },
        {"type": "function_call_output", "call_id": "c1", "output": "Error: gone"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [
                {"type": "input_text", "text": "x"},
                {"type": "input_image", "detail": "auto", "image_url": "https://example.org/i"},
            ],
        },
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "now?"}],
        },
    ]


def test_parts_lifted_out_of_their_item_make_one_message() -> None:
    """A flow may show the user's picture with words of its own: that is one message, not two."""
    image = {"type": "input_image", "image_url": "https://example.org/i", "detail": "low"}
    seen = responses.parse_message({"role": "user", "id": "msg_1", "content": [image]})
    result = responses.parse_message(
        {"type": "function_call_output", "call_id": "c", "output": [image]}
    ).parts[0]
    assert isinstance(result, ToolResult)
    asked = Message("user", (Text("what is it?"), *seen.parts, *result.parts))
    assert responses.render_messages(Conversation((asked,)), []) == [
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "what is it?"}, image, image],
        }
    ]


def test_an_edited_part_keeps_its_neighbours_spelling() -> None:
    """Only what was changed is written anew; the item around it keeps its id and phase."""
    first = {"type": "output_text", "text": "a", "annotations": [{"type": "x"}]}
    item = {
        "type": "message",
        "role": "assistant",
        "id": "msg_1",
        "phase": "commentary",
        "content": [first, {"type": "output_text", "text": "b", "annotations": []}],
    }
    message = responses.parse_message(item)
    kept = message.edited(parts=message.parts[:1])
    assert responses.render_messages(Conversation((kept,)), []) == [{**item, "content": [first]}]


def test_what_has_no_place_here_is_named_or_refused() -> None:
    """A foreign block is a named loss; audio changes what the request means."""
    losses: list[str] = []
    block = Opaque(wire=Wire("messages", {"type": "search_result"}))
    picture = Image(Source(url="https://example.org/i"))
    assert responses.render_parts("user", [block], losses) == []
    assert responses.render_parts("assistant", [picture], losses) == []
    assert losses == [
        "search_result: known to its own protocol only",
        "image in an assistant message",
    ]
    with pytest.raises(ModelError) as caught:
        responses.render_parts("user", [Audio("QQ==", "wav")], losses)
    assert (caught.value.kind, caught.value.param) == ("unsupported", "input_audio")


def test_media_are_spelled_as_the_api_takes_them() -> None:
    """Base64 becomes a data URL; file data needs a name with an ending."""
    parts: list[Part] = [
        Image(Source("image/png", "QQ==")),
        Image(Source(file_id="f")),
        File(Source("application/pdf", "QQ==")),
        File(Source(url="https://example.org/a.pdf")),
        File(Source(file_id="f")),
    ]
    [item] = responses.render_parts("user", parts, [])
    assert item["content"] == [
        {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,QQ=="},
        {"type": "input_image", "detail": "auto", "file_id": "f"},
        {
            "type": "input_file",
            "filename": "document.pdf",
            "file_data": "data:application/pdf;base64,QQ==",
        },
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
        {"type": "input_file", "file_id": "f"},
    ]


def test_instructions_come_back_and_foreign_ones_are_joined() -> None:
    """Blocks of another protocol keep a line break between them."""
    own = responses.parse_system("Be brief.")
    assert responses.render_system(Conversation((), own), []) == "Be brief."
    assert responses.render_system(Conversation(()), []) is None
    blocks = Message("system", (Text("One."), Text("Two."), Text("\n\nThree.")))
    assert responses.render_system(Conversation((), blocks), []) == "One.\nTwo.\n\nThree."
    echoed = responses.parse_system([{"role": "developer", "content": "Be brief."}])
    assert echoed.text == "Be brief."


@pytest.mark.parametrize("odd", [{"id": True}, {"id": "x", "call_id": 7}])
def test_a_call_whose_id_is_no_text_is_refused(odd: dict[str, Json]) -> None:
    """Results are found by it, and other providers get it in their own alphabet."""
    with pytest.raises(ModelError, match="must be of type str"):
        responses.parse_message({"type": "function_call", "name": "f", "arguments": "{}", **odd})
