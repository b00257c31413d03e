"""A model that only reads, and what it is told of images."""

import base64
import io
import re
from typing import Any

import pytest
from PIL import Image as Pillow

from polyvox.workflows.conversation import File, Image, Source
from polyvox.workflows.media import media_digest
from tests.programs import optional_parts as optional
from tests.programs.clients import Client, Question, Said
from tests.programs.optional_parts import pdf, reads_pdf, reads_text, written
from tests.programs.running import Live
from tests.programs.template_stories import notes, received

streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def png(left: str, right: str, width: int = 64) -> str:
    """Return a picture of two halves in base64."""
    picture = Pillow.new("RGB", (width, 48), left)
    picture.paste(Pillow.new("RGB", (width // 2, 48), right), (width // 2, 0))
    written = io.BytesIO()
    picture.save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def label(data: str) -> str:
    return media_digest(Image(Source(data=data)))[:8]


def shows_images(body: Any) -> bool:
    said = str(body.get("messages") or body.get("input") or body)
    return any(word in said for word in ("base64", "image_url", "input_image"))


@streams
def test_the_text_model_reads_what_the_eye_saw(live: Live, client: Client, stream: bool) -> None:
    """No image reaches it; the description stands where the image was."""
    # Each of the cases has a picture of its own, or it would be known from another one.
    data = png("red", "blue", 200 * (1 + stream) + 2 * len(client.protocol))
    question = Question(f"sees-{client.protocol}", (Said("What is in it?", data),))
    answered = client.ask(question, stream=stream)
    run = live.ended(answered.run_id, 2)
    assert [call["step"] for call in run["calls"]] == [f"describe {label(data)}", "main"]
    body = received(live, "main-idblind")[-1]
    assert not shows_images(body)
    assert f"[image {label(data)}: [simulated:eye]" in str(body)
    assert "red" in str(body)
    assert shows_images(received(live, "eye")[-1])


def test_an_image_in_the_history_costs_nothing_again(live: Live, client: Client) -> None:
    """Not in the next turn and not in another conversation: its content is known."""
    data = png("green", "white", 80 + len(client.protocol))
    model = f"sees-{client.protocol}"
    said = Said("What is in it?", data)
    first = client.ask(Question(model, (said,)), stream=True)
    turns = (said, first, Said("Thank you."))
    second = client.ask(Question(model, turns), stream=True)
    third = client.ask(Question(model, (Said("And now?", data),)), stream=True)
    for answered in (second, third):
        assert [c["step"] for c in live.ended(answered.run_id)["calls"]] == ["main"]
    before, after = received(live, "main-idblind")[-3:-1]
    messages = "input" if client.protocol == "responses" else "messages"
    assert after[messages][: len(before[messages])] == before[messages]


def test_the_model_can_ask_about_a_region(live: Live, client: Client) -> None:
    """The eye gets the region alone, cut out by the server."""
    data = png("orange", "purple", 100 + len(client.protocol))
    asks = (
        f'Call look {{"image": "{label(data)}", "question": "Which colour?", '
        '"region": [0.5, 0, 1, 1]}'
    )
    answered = client.ask(Question(f"sees-{client.protocol}", (Said(asks, data),)), stream=True)
    assert re.search(r"purple \((?:9\d|100) %\)", answered.text)
    assert "orange" not in answered.text
    steps = [call["step"] for call in live.ended(answered.run_id, 4)["calls"]]
    assert steps == [f"describe {label(data)}", "main", f"look at {label(data)}", "main"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('{"image": "00000000", "question": "x"}', "There is no such image. Images: "),
        ('{"image": "LABEL", "question": "x", "region": [1, 1, 0, 0]}', "look failed: A region is"),
    ],
)
def test_a_look_that_cannot_be_had_is_a_result(
    live: Live, client: Client, arguments: str, says: str
) -> None:
    """The model reads what is wrong with its call."""
    data = png("black", "yellow")
    asks = f"Call look {arguments.replace('LABEL', label(data))}"
    answered = client.ask(Question("sees-chat", (Said(asks, data),)), stream=True)
    assert says in answered.text


def test_an_image_that_a_tool_returns_is_seen_too(live: Live) -> None:
    """Screenshots come back in the results of tools."""
    data = png("pink", "brown")
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    document = {
        "model": "sees-messages",
        "max_tokens": 500,
        "messages": [
            {"role": "user", "content": "Take a screenshot."},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t1", "name": "shot", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [image]}],
            },
        ],
        "tools": [{"name": "shot", "input_schema": {"type": "object"}}],
    }
    answer = live.post("messages", document)
    assert answer.status_code == 200, answer.text
    body = received(live, "main-idblind")[-1]
    assert not shows_images(body)
    assert f"[image {label(data)}: " in str(body["messages"][-1])


def test_an_eye_that_fails_does_not_cost_the_answer(live: Live, client: Client) -> None:
    """The text model is told, the failure noted, and the next request tries again."""
    data = png("cyan", "grey")
    for _ in range(2):
        answered = client.ask(Question("sees-not", (Said("What is it?", data),)), stream=True)
        run = live.ended(answered.run_id, 2)
        assert [call["status"] for call in run["calls"]] == ["failed", "completed"]
        assert notes(run, "not described")[0]["image"] == label(data)
    assert "it could not be described" in str(received(live, "main-idblinder")[-1])


def test_without_images_nothing_is_added(live: Live, client: Client) -> None:
    """One call, and no tool is offered."""
    answered = client.ask(Question(f"sees-{client.protocol}", (Said("Hello!"),)), stream=True)
    assert [call["step"] for call in live.ended(answered.run_id)["calls"]] == ["main"]
    assert "look" not in str(received(live, "main-idblind")[-1].get("tools"))


def paper(text: str, *pages: Pillow.Image) -> dict[str, Any]:
    """Return a request about a PDF."""
    source = {"type": "base64", "media_type": "application/pdf", "data": pdf(*pages)}
    said = [{"type": "document", "source": source}, {"type": "text", "text": text}]
    return {
        "model": "sees-pages",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": said}],
    }


@reads_pdf
def test_the_pages_of_a_document_are_seen(live: Live) -> None:
    """Each of the first ones is described; the model is told how many it has not been shown."""
    pages = [Pillow.new("RGB", (60, 40), colour) for colour in ("red", "blue", "white")]
    answer = live.post("messages", paper("What is on it?", *pages))
    assert answer.status_code == 200, answer.text
    body = received(live, "main-idpages")[-1]
    assert "application/pdf" not in str(body)
    assert re.search(r"\[document \w{8}: Page 1: .*red.*Page 2: .*blue", str(body), re.S)
    assert "1 more pages were not looked at." in str(body)


@reads_pdf
def test_the_model_can_ask_about_a_page(live: Live) -> None:
    """Also about one that was not described."""
    pages = [Pillow.new("RGB", (60, 40), colour) for colour in ("red", "lime", "orange")]
    digest = media_digest(File(Source("application/pdf", pdf(*pages))))[:8]
    asks = f'Call look {{"image": "{digest}", "question": "Which colour?", "page": 3}}'
    answer = live.post("messages", paper(asks, *pages))
    assert "orange" in answer.text


@reads_text
def test_text_is_read_without_any_eye(live: Live, client: Client) -> None:
    """On this machine: with `ocr = "only"` no model is shown the picture."""
    data = optional.png(written(f"Order {len(client.protocol)}42"))
    answered = client.ask(Question("reads", (Said("What does it say?", data),)), stream=False)
    assert [c["step"] for c in live.ended(answered.run_id)["calls"]] == ["main"]
    assert f"Order {len(client.protocol)}42" in str(received(live, "main-idreader")[-1])
    assert received(live, "eye-idnever") == []
