"""Media are labelled by their bytes, whatever the client calls them."""

import base64

import pytest

from polyvox.protocols.history.media_types import media_type_of
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json, Protocol

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe000000").decode()
PDF = base64.b64encode(b"%PDF-1.7 0").decode()
UNKNOWN = base64.b64encode(b"0123456789").decode()


@pytest.mark.parametrize(
    ("data", "label", "kind"),
    [
        (PNG, "image/jpeg", "image/png"),
        (JPEG, "image/png", "image/jpeg"),
        (JPEG, None, "image/jpeg"),
        (f" {JPEG[:5]}\r\n{JPEG[5:]}", "image/png", "image/jpeg"),
        (base64.b64encode(b"RIFF0000WEBPVP8 ").decode(), "image/png", "image/webp"),
        (base64.b64encode(b"GIF89a00").decode(), "IMAGE/GIF", "image/gif"),
        (base64.b64encode(b"0000ftypavif").decode(), "image/png", "image/avif"),
        (UNKNOWN, "image/jpg", "image/jpeg"),
        (UNKNOWN, "Image/JPG; charset=utf-8", "image/jpeg"),
        (UNKNOWN, "image/png", "image/png"),
        (UNKNOWN, None, None),
        ("not base64", "image/png", "image/png"),
        ("", "image/png", "image/png"),
    ],
)
def test_the_bytes_name_the_type(data: str, label: str | None, kind: str | None) -> None:
    assert media_type_of(data, label) == kind


def bodies(label: str, data: str) -> dict[Protocol, Json]:
    """Return a request with an image, and one in the result of a call, of each protocol."""
    url = f"data:{label};base64,{data}"
    source = {"type": "base64", "media_type": label, "data": data}
    mark = {"cache_control": {"type": "ephemeral"}}
    shown = {"type": "image", "source": source}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [shown]}
    call = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    output = [{"type": "input_image", "image_url": url, "detail": "low"}]
    question = {"type": "text", "text": "What is it?"}
    return {
        "chat": {
            "messages": [
                {
                    "role": "user",
                    "name": "Ann",
                    "content": [question, {"type": "image_url", "image_url": {"url": url}}],
                }
            ]
        },
        "responses": {
            "input": [
                {"role": "user", "content": [{"type": "input_image", "image_url": url}]},
                call,
                {"type": "function_call_output", "call_id": "a", "output": output},
            ]
        },
        "messages": {
            "max_tokens": 9,
            "messages": [
                {"role": "user", "content": [{**shown, **mark}, question]},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}],
                },
                {"role": "user", "content": [result]},
            ],
        },
    }


@pytest.mark.parametrize("over", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
@pytest.mark.parametrize(("label", "data"), [("image/png", JPEG), ("image/jpg", UNKNOWN)])
def test_a_provider_gets_the_type_of_the_bytes(
    client: Protocol, over: Protocol, label: str, data: str
) -> None:
    """In messages and in results of tools, from clients of its own protocol too."""
    body = {"model": "m", **bodies(label, data)[client]}
    conversation = PROTOCOLS[client].parser.parse(body, {}).conversation
    sent = str(PROTOCOLS[over].provider.render(conversation, "m").body)
    count = 1 if client == "chat" else 2
    assert sent.count("image/jpeg") == count
    assert label not in sent
    if client == over:
        right = bodies("image/jpeg", data)[client]
        said = "input" if client == "responses" else "messages"
        rendered = PROTOCOLS[over].provider.render(conversation, "m").body
        assert rendered[said] == right[said], "nothing else changes"


def test_a_document_of_no_known_type_is_a_pdf_by_its_bytes() -> None:
    file = {"filename": "a.pdf", "file_data": f"data:application/octet-stream;base64,{PDF}"}
    content = [{"type": "file", "file": file}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    conversation = PROTOCOLS["chat"].parser.parse(body, {}).conversation
    request = PROTOCOLS["messages"].provider.render(conversation, "claude-opus-4-8")
    source = request.body["messages"][0]["content"][0]["source"]
    assert source == {"type": "base64", "media_type": "application/pdf", "data": PDF}
    assert not request.losses
