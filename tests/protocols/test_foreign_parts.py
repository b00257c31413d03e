"""Content parts in another protocol's spelling are understood, or refused with their path."""

import pytest

from polyvox.protocols.client_side import Ask
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Audio, File, Image, Json, Part, Source, Text, ToolResult
from polyvox.workflows.errors import ModelError

PIXEL = "iVBORw0KGgo="
DATA_URL = f"data:image/png;base64,{PIXEL}"
WEB = "https://example.com/a.png"
PIXELS = Image(Source("image/png", data=PIXEL))

IMAGES: dict[str, tuple[Json, Part]] = {
    "chat": ({"type": "image_url", "image_url": {"url": DATA_URL}}, PIXELS),
    "chat, a bare url": ({"type": "image_url", "image_url": WEB}, Image(Source(url=WEB))),
    "responses": ({"type": "input_image", "image_url": DATA_URL}, PIXELS),
    "responses, nested": ({"type": "input_image", "image_url": {"url": DATA_URL}}, PIXELS),
    "messages": (
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
        },
        PIXELS,
    ),
    "messages, a url": (
        {"type": "image", "source": {"type": "url", "url": WEB}},
        Image(Source(url=WEB)),
    ),
    "mcp": ({"type": "image", "data": PIXEL, "mimeType": "image/png"}, PIXELS),
    "ai sdk": ({"type": "image", "image": WEB}, Image(Source(url=WEB))),
}
TEXTS: dict[str, Json] = {
    "chat and messages": {"type": "text", "text": "hello"},
    "responses, input": {"type": "input_text", "text": "hello"},
    "responses, output": {"type": "output_text", "text": "hello", "annotations": []},
}
PDF = Source("application/pdf", data="JVBERi0=")
FILES: dict[str, Json] = {
    "chat": {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
    },
    "responses": {
        "type": "input_file",
        "filename": "a.pdf",
        "file_data": "data:application/pdf;base64,JVBERi0=",
    },
    "messages": {
        "type": "document",
        "title": "a.pdf",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
    },
}
OWN_TYPES = {
    "chat": {"text", "image_url", "file", "input_audio", "refusal"},
    "responses": {"input_text", "output_text", "input_image", "input_file", "refusal"},
    "messages": {"text", "image", "document"},
}


def parsed(protocol: str, **members: Json) -> Ask:
    body: dict[str, Json] = {"model": "m", **members}
    if protocol == "messages":
        body.setdefault("max_tokens", 10)
    return PROTOCOLS[protocol].parser.parse(body, {})


def asked(protocol: str, role: str, content: Json, before: tuple[Json, ...] = ()) -> Ask:
    list_name = "input" if protocol == "responses" else "messages"
    return parsed(protocol, **{list_name: [*before, {"role": role, "content": content}]})


def sent(ask: Ask) -> Json:
    """Return the last element as a provider of the client's own protocol gets it."""
    body = PROTOCOLS[ask.protocol].provider.render(ask.conversation, "m").body
    return body["input" if ask.protocol == "responses" else "messages"][-1]


def same(part: Part, expected: Part) -> bool:
    """Compare without the detail, which only OpenAI's protocols have."""
    if isinstance(part, Image) and isinstance(expected, Image):
        return part.source == expected.source
    return part == expected


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("spelled", IMAGES)
def test_an_image_is_understood_in_every_spelling(protocol: str, spelled: str) -> None:
    """The model sees it, and a provider of the client's protocol gets its own spelling."""
    json, expected = IMAGES[spelled]
    ask = asked(protocol, "user", [json])
    (part,) = ask.conversation.messages[0].parts
    assert same(part, expected)
    assert {piece["type"] for piece in sent(ask)["content"]} <= OWN_TYPES[protocol]


@pytest.mark.parametrize("provider", PROTOCOLS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("spelled", IMAGES)
def test_an_image_reaches_every_provider(protocol: str, spelled: str, provider: str) -> None:
    """No loss is named, because none happens."""
    json, _ = IMAGES[spelled]
    rendered = PROTOCOLS[provider].provider.render(
        asked(protocol, "user", [json]).conversation, "m"
    )
    shown = str(rendered.body)
    assert PIXEL in shown or WEB in shown
    assert not [loss for loss in rendered.losses if "image" in loss]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("role", ["user", "system", "assistant"])
@pytest.mark.parametrize("spelled", TEXTS)
def test_a_text_is_understood_in_every_spelling(protocol: str, role: str, spelled: str) -> None:
    """In every role, with the type that the protocol wants in that role."""
    content = [TEXTS[spelled]]
    before = ({"role": "user", "content": "hi"},)
    ask = asked(protocol, role, content, before)
    assert ask.conversation.messages[-1].parts == (Text("hello"),)
    (piece,) = sent(ask)["content"]
    own = {"assistant": "output_text"}.get(role, "input_text")
    assert piece["type"] == (own if protocol == "responses" else "text")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("spelled", FILES)
def test_a_file_is_understood_in_every_spelling(protocol: str, spelled: str) -> None:
    """With its name."""
    ask = asked(protocol, "user", [FILES[spelled]])
    assert ask.conversation.messages[0].parts == (File(PDF, "a.pdf"),)
    assert {piece["type"] for piece in sent(ask)["content"]} <= OWN_TYPES[protocol]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_audio_is_understood_in_every_protocol(protocol: str) -> None:
    """Messages has no block for it, but the model behind it may be another provider's."""
    json = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    ask = asked(protocol, "user", [json])
    assert ask.conversation.messages[0].parts == (Audio("AAAA", "wav"),)


@pytest.mark.parametrize("spelled", [*IMAGES])
def test_a_tools_result_may_hold_foreign_parts(spelled: str) -> None:
    """In every protocol's own kind of result."""
    json, expected = IMAGES[spelled]
    pieces = [{"type": "input_text", "text": "hello"}, json]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    used = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": pieces}
    asks = [
        parsed(
            "chat",
            messages=[
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": pieces},
            ],
        ),
        parsed(
            "responses",
            input=[
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": pieces},
            ],
        ),
        parsed(
            "messages",
            messages=[
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [used]},
                {"role": "user", "content": [result]},
            ],
        ),
    ]
    for ask in asks:
        (part,) = ask.conversation.messages[-1].parts
        assert isinstance(part, ToolResult)
        assert part.parts[0] == Text("hello")
        assert same(part.parts[1], expected)


def test_system_blocks_may_be_spelled_otherwise() -> None:
    """Instructions are not lost either."""
    block = {"type": "input_text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    ask = parsed("messages", system=[block], messages=[{"role": "user", "content": "hi"}])
    assert ask.conversation.system is not None
    assert ask.conversation.system.text == "Be brief."
    body = PROTOCOLS["messages"].provider.render(ask.conversation, "m").body
    assert body["system"] == [{**block, "type": "text"}]


@pytest.mark.parametrize(
    ("protocol", "content", "param"),
    [
        ("chat", {"type": "input_text"}, "messages[0].content[1].text"),
        ("chat", {"type": "input_image"}, "messages[0].content[1].image_url"),
        ("chat", {"type": "input_image", "file_id": "f"}, "messages[0].content[1].file_id"),
        ("chat", {"type": "image", "source": {}}, "messages[0].content[1].source.type"),
        (
            "chat",
            {"type": "document", "source": {"type": "base64"}},
            "messages[0].content[1].source.data",
        ),
        ("responses", {"type": "image_url"}, "input[0].content[1].image_url"),
        ("responses", {"type": "image", "source": 7}, "input[0].content[1].source"),
        ("responses", {"type": "file", "file": {}}, "input[0].content[1].file.file_data"),
        ("messages", {"type": "image_url", "image_url": {}}, "messages.0.content.1.image_url.url"),
        ("messages", {"type": "input_file"}, "messages.0.content.1.file_data"),
        ("messages", {"type": "input_text", "text": 1}, "messages.0.content.1.text"),
    ],
)
def test_an_ambiguous_part_is_refused_with_its_path(
    protocol: str, content: Json, param: str
) -> None:
    """It is never dropped."""
    with pytest.raises(ModelError) as refused:
        asked(protocol, "user", [{"type": "text", "text": "hi"}, content])
    assert (refused.value.kind, refused.value.param) == ("invalid_request", param)
    assert param in refused.value.message


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_part_of_an_unknown_type_goes_to_the_same_protocol(protocol: str) -> None:
    """A server may know it."""
    unknown = {"type": "video_url", "video_url": {"url": WEB}}
    ask = asked(
        protocol, "user", [unknown, {"type": "image", "other": 1}][: 1 + (protocol == "chat")]
    )
    assert sent(ask)["content"][0] == unknown
